package ring;

import static ring.Report.equal;
import static ring.Report.holds;
import static ring.Report.refused;

import com.scalekit.api.OrganizationClient;
import com.scalekit.grpc.scalekit.v1.organizations.CreateOrganization;
import com.scalekit.grpc.scalekit.v1.organizations.ListOrganizationsResponse;
import com.scalekit.grpc.scalekit.v1.organizations.Organization;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Pages over many organizations: every row once, newest first, backwards as forwards. */
final class Pagination {
  private static final int ROWS = 250;

  private Pagination() {}

  private static List<String> ids(ListOrganizationsResponse page) {
    return page.getOrganizationsList().stream().map(Organization::getId).toList();
  }

  private static List<ListOrganizationsResponse> pages(OrganizationClient orgs, int size) {
    List<ListOrganizationsResponse> found = new ArrayList<>();
    String token = null;
    do {
      ListOrganizationsResponse page = orgs.listOrganizations(size, token);
      found.add(page);
      token = page.getNextPageToken();
      holds(found.size() < 10_000, "next_page_token never ends");
    } while (!token.isEmpty());
    return found;
  }

  static void run(Report report, OrganizationClient orgs) {
    List<String> newestFirst = new ArrayList<>();
    for (int row = 0; row < ROWS; row++) {
      newestFirst.add(orgs.create(CreateOrganization.newBuilder().setDisplayName("Page Row " + row).build()).getId());
    }
    Collections.reverse(newestFirst);
    Set<String> own = new HashSet<>(newestFirst);

    for (int size : new int[] {100, 30, 1}) {
      report.check("[ORG-10 API-05] " + ROWS + " organizations in pages of " + size + ": each once, newest first, total_size true", () -> {
        List<ListOrganizationsResponse> found = pages(orgs, size);
        List<String> all = found.stream().flatMap(page -> ids(page).stream()).toList();
        equal("distinct rows", new HashSet<>(all).size(), all.size());
        equal("own rows in order", all.stream().filter(own::contains).toList(), newestFirst);
        for (ListOrganizationsResponse page : found) {
          equal("total_size", page.getTotalSize(), all.size());
          holds(page == found.get(found.size() - 1) || page.getOrganizationsCount() == size, "a page is not full");
        }
        equal("prev_page_token of the first page", found.get(0).getPrevPageToken(), "");
      });
    }

    report.check("[API-05] prev_page_token leads back through the same pages; a malformed token is refused", () -> {
      List<ListOrganizationsResponse> forward = pages(orgs, 30);
      int at = forward.size() - 1;
      String token = forward.get(at).getPrevPageToken();
      while (!token.isEmpty()) {
        holds(at > 0, "prev_page_token never ends");
        ListOrganizationsResponse page = orgs.listOrganizations(30, token);
        at -= 1;
        equal("page " + at, ids(page), ids(forward.get(at)));
        token = page.getPrevPageToken();
      }
      equal("pages left on the way back", at, 0);
      refused(() -> orgs.listOrganizations(10, "%%% not a token"), 3, "INVALID_ARGUMENT", "");
    });

    report.check("[ORG-05] the rows are deleted again", () -> newestFirst.forEach(orgs::deleteById));
  }
}
