package ring;

import static ring.Report.equal;
import static ring.Report.holds;
import static ring.Report.invalid;
import static ring.Report.notFound;

import com.scalekit.ScalekitClient;
import com.scalekit.api.ConnectionClient;
import com.scalekit.api.DomainClient;
import com.scalekit.grpc.scalekit.v1.domains.Domain;
import com.scalekit.grpc.scalekit.v1.domains.DomainType;
import java.util.List;

/** Domains of an organization, and the connections that belong to one: of these there can be none yet. */
final class Domains {
  private static final String UNKNOWN = "dom_100000000000000000";

  private Domains() {}

  private static String name() {
    return Organizations.unique("d") + ".example.org";
  }

  static void run(Report report, ScalekitClient client) {
    DomainClient api = client.domains();
    ConnectionClient connections = client.connections();
    String org = People.organization(client.organizations(), "Domains");

    report.check("domains: create of both types, get, list by type, delete", () -> {
      for (DomainType type : List.of(DomainType.ORGANIZATION_DOMAIN, DomainType.ALLOWED_EMAIL_DOMAIN)) {
        String name = name();
        Domain made = api.createDomain(org, name, type);
        holds(made.getId().startsWith("dom_"), made.getId());
        equal("made", List.of(made.getDomain(), made.getDomainType()), List.of(name, type));
        equal("found", api.getDomainById(org, made.getId()).getOrganizationId(), org);
        equal("list of " + type, api.listDomainsByOrganizationId(org, type).stream().map(Domain::getId).toList(), List.of(made.getId()));
      }
      api.createDomain(org, name());
      List<Domain> every = api.listDomainsByOrganizationId(org);
      equal("domains of any type", every.size(), 3);
      every.forEach(domain -> api.deleteDomain(org, domain.getId()));
      equal("domains after delete", api.listDomainsByOrganizationId(org).size(), 0);
    });

    report.check("[DOM-02] a public or disposable name is no allowed email domain", () ->
        invalid(
            "",
            () -> api.createDomain(org, "gmail.com", DomainType.ALLOWED_EMAIL_DOMAIN),
            () -> api.createDomain(org, "mailinator.com", DomainType.ALLOWED_EMAIL_DOMAIN)));

    report.check("an unknown domain and an unknown organization are not found; a name that is none gives INVALID_ARGUMENT", () -> {
      notFound(() -> api.getDomainById(org, UNKNOWN), () -> api.deleteDomain(org, UNKNOWN), () -> api.createDomain(People.NOWHERE, name()));
      invalid("", () -> api.createDomain(org, "not a domain"));
    });

    report.check("connections of an organization and of a domain: none, as those of the environment belong to neither", () -> {
      equal("of the organization", connections.listConnectionsByOrganization(org).getConnectionsCount(), 0);
      equal("of a domain", connections.listConnectionsByDomain("example.org").getConnectionsCount(), 0);
      notFound(() -> connections.listConnectionsByOrganization(People.NOWHERE));
      invalid("", () -> connections.listConnectionsByDomain("d".repeat(33)));
      client.organizations().deleteById(org);
    });
  }
}
