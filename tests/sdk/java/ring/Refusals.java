package ring;

import static ring.Report.equal;
import static ring.Report.holds;
import static ring.Report.refused;

import com.scalekit.ScalekitClient;
import com.scalekit.api.OrganizationClient;
import com.scalekit.exceptions.APIException;
import com.scalekit.grpc.scalekit.v1.organizations.CreateOrganization;
import com.scalekit.grpc.scalekit.v1.organizations.Organization;

/** Every class of error that the server can be brought to give, as the SDK's one exception shows it. */
final class Refusals {
  private Refusals() {}

  /** An RPC of the SDK that the server does not offer yet. Take another one when this one is built. */
  private static void notBuiltYet(ScalekitClient client, String organizationId) {
    client.directories().listDirectories(organizationId);
  }

  static void run(Report report, ScalekitClient client, String url, String clientId, String secret) {
    OrganizationClient orgs = client.organizations();
    String externalId = Organizations.unique("dup");
    CreateOrganization taken = CreateOrganization.newBuilder().setDisplayName("Errors").setExternalId(externalId).build();
    Organization org = orgs.create(taken);

    report.check("[ORG-02 ERR-03] an empty display name gives INVALID_ARGUMENT and names the field and the rule", () -> {
      APIException error = refused(() -> orgs.create(CreateOrganization.getDefaultInstance()), 3, "INVALID_ARGUMENT", "");
      holds(
          error.getErrorInfo().getValidationErrorInfo().getFieldViolationsList().stream()
              .anyMatch(found -> found.getField().endsWith("display_name") && found.getConstraint().equals("string.min_len")),
          error.getErrorInfo().toString());
    });

    report.check("[ORG-04] a duplicate external id says: already exists",
        () -> refused(() -> orgs.create(taken), 3, "INVALID_ARGUMENT", "already exists"));

    report.check("[ERR-01] an unknown organization is not found",
        () -> refused(() -> orgs.getById("org_100000000000000000"), 5, "NOT_FOUND", ""));

    report.check("[MGMT-04] an RPC for workspace members refuses an API client with PERMISSION_DENIED",
        () -> refused(() -> orgs.portalLinksAsMember(org.getId()), 7, "PERMISSION_DENIED", ""));

    report.check("[ERR-01 APP-09] a callback that the default application has already is there: ALREADY_EXISTS", () -> {
      String uri = "https://" + Organizations.unique("twin") + ".example.com/callback";
      client.m2m().addEnvironmentRedirectUri(uri);
      refused(() -> client.m2m().addEnvironmentRedirectUri(uri), 6, "ALREADY_EXISTS", "");
      client.m2m().removeEnvironmentRedirectUri(uri);
    });

    report.check("an RPC that is not built yet is unimplemented, with details",
        () -> refused(() -> notBuiltYet(client, org.getId()), 12, "UNIMPLEMENTED", ""));

    report.check("[OAUTH-02] a client with a wrong secret gets 401 and invalid_client from the token endpoint", () -> {
      APIException error =
          refused(() -> new ScalekitClient(url, clientId, secret + "x").organizations().listOrganizations(1, null), 0, null, "invalid_client");
      holds(error.getMessage().contains("401 Unauthorized"), error.getMessage());
    });

    report.check("[ORG-05] the organization of these checks is deleted again", () -> orgs.deleteById(org.getId()));
  }

  /** Against a server that was started with a small API limit per minute. */
  static void limits(Report report, ScalekitClient client) {
    report.check("[ERR-10 EVT-70] over the limit: RESOURCE_EXHAUSTED with RATE_LIMITED", () -> {
      int limit = Integer.parseInt(System.getenv("NARTHEX_LIMIT_PER_MINUTE"));
      for (int answered = 0; answered <= limit * 2; answered++) {
        try {
          client.organizations().listOrganizations(1, null);
        } catch (APIException error) {
          equal("gRPC code", error.getGrpcStatusCode(), 8);
          equal("error code", error.getScalekitErrorCode(), "RATE_LIMITED");
          return;
        }
      }
      throw new AssertionError("no refusal although the limit is " + limit + " per minute");
    });
  }
}
