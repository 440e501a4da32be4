package ring;

import static ring.Report.equal;
import static ring.Report.holds;
import static ring.Report.invalid;
import static ring.Report.notFound;
import static ring.Report.refused;

import com.google.protobuf.Timestamp;
import com.scalekit.ScalekitClient;
import com.scalekit.api.AuthClient;
import com.scalekit.api.M2MClient;
import com.scalekit.api.TokenClient;
import com.scalekit.exceptions.APIException;
import com.scalekit.grpc.scalekit.v1.clients.ClientSecret;
import com.scalekit.grpc.scalekit.v1.clients.CreateOrganizationClientResponse;
import com.scalekit.grpc.scalekit.v1.clients.CreateOrganizationClientSecretResponse;
import com.scalekit.grpc.scalekit.v1.clients.CustomClaim;
import com.scalekit.grpc.scalekit.v1.clients.ListOrganizationClientsResponse;
import com.scalekit.grpc.scalekit.v1.clients.M2MClientOrBuilder;
import com.scalekit.grpc.scalekit.v1.clients.OrganizationClient;
import com.scalekit.grpc.scalekit.v1.organizations.CreateOrganization;
import com.scalekit.grpc.scalekit.v1.tokens.CreateTokenResponse;
import com.scalekit.grpc.scalekit.v1.tokens.ListTokensResponse;
import com.scalekit.grpc.scalekit.v1.tokens.Token;
import com.scalekit.grpc.scalekit.v1.users.ListUsersRequest;
import com.scalekit.grpc.scalekit.v1.users.User;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Machine clients of organizations, and API tokens, as the Java SDK drives them. */
final class Machines {
  private static final String LAST = "last client cannot be deleted";
  private static final List<String> SCOPES = List.of("deploy:applications", "write");
  private static final List<String> AUDIENCE = List.of("https://api.example.com");

  private final Report report;
  private final ScalekitClient client;
  private final String url;
  private final String externalId = Organizations.unique("machines");
  private String org;

  Machines(Report report, ScalekitClient client, String url) {
    this.report = report;
    this.client = client;
    this.url = url;
  }

  void run() {
    org = client.organizations().create(CreateOrganization.newBuilder().setDisplayName("Machines").setExternalId(externalId).build()).getId();
    organizationClients();
    apiTokens();
    report.check("[ORG-05] the organization of the machines is deleted again", () -> client.organizations().deleteById(org));
  }

  private static OrganizationClient named(String name) {
    return OrganizationClient.newBuilder().setName(name).build();
  }

  private static String end(String secret) {
    return secret.substring(secret.length() - 4);
  }

  private void organizationClients() {
    M2MClient api = client.m2m();
    AuthClient authentication = client.authentication();
    CreateOrganizationClientResponse made =
        api.createOrganizationClient(
            org,
            named("Importer").toBuilder()
                .setDescription("Nightly")
                .addAllScopes(SCOPES)
                .addAllAudience(AUDIENCE)
                .addCustomClaims(CustomClaim.newBuilder().setKey("tier").setValue("gold"))
                .setExpiry(600)
                .build());
    String id = made.getClient().getClientId();
    String secret = made.getPlainSecret();
    ClientSecret first = made.getClient().getSecrets(0);

    report.check("[M2M-01] an organization's client: m2morg_ id, its secret once, get, update of one field", () -> {
      holds(id.matches("m2morg_[0-9]+"), id);
      equal("suffix", first.getSecretSuffix(), end(secret));
      M2MClientOrBuilder found = api.getOrganizationClient(org, id).getClient();
      equal("found", List.of(found.getOrganizationId(), found.getName(), found.getExpiry()), List.of(org, "Importer", 600L));
      equal("scopes", List.copyOf(found.getScopesList()), SCOPES);
      equal("audience", List.copyOf(found.getAudienceList()), AUDIENCE);
      equal("claims", found.getCustomClaims(0).getKey() + found.getCustomClaims(0).getValue(), "tiergold");
      equal("secret that get shows", found.getSecrets(0).getPlainSecret(), "");
      var updated = api.updateOrganizationClient(org, id, OrganizationClient.newBuilder().setDescription("Hourly").build()).getClient();
      equal("updated", List.of(updated.getName(), updated.getDescription(), List.copyOf(updated.getScopesList())), List.of("Importer", "Hourly", SCOPES));
    });

    report.check("[M2M-03 TOK-03] its token: audience, expiry, scopes and claims of the client, checked against /keys", () -> {
      Map<String, Object> claims = authentication.validateAccessTokenAndGetClaims(authentication.generateClientToken(id, secret));
      equal("who", List.of(claims.get("sub"), claims.get("oid"), claims.get("aud")), List.of(id, org, AUDIENCE));
      equal("scopes", claims.get("scopes"), SCOPES);
      equal("claims", claims.get("custom_claims"), Map.of("tier", "gold"));
      holds(Math.abs(((Number) claims.get("exp")).longValue() - ((Number) claims.get("iat")).longValue() - 600) <= 1, claims.toString());
    });

    report.check("[MGMT-04] its token is none for the management API: PERMISSION_DENIED", () ->
        refused(() -> new ScalekitClient(url, id, secret).users().listUsers(ListUsersRequest.getDefaultInstance()), 7, "PERMISSION_DENIED", ""));

    report.check("[M2M-02] a second secret works beside the first; a removed one does not; the last one stays", () -> {
      CreateOrganizationClientSecretResponse added = api.addOrganizationClientSecret(org, id);
      equal("suffix", added.getSecret().getSecretSuffix(), end(added.getPlainSecret()));
      authentication.generateClientToken(id, secret);
      authentication.generateClientToken(id, added.getPlainSecret());
      api.removeOrganizationClientSecret(org, id, first.getId());
      authentication.generateClientToken(id, added.getPlainSecret());
      refused(() -> authentication.generateClientToken(id, secret), 0, null, "invalid_client");
      invalid(LAST, () -> api.removeOrganizationClientSecret(org, id, added.getSecret().getId()));
      api.removeOrganizationClientSecret(org, id, first.getId());
    });

    report.check("[M2M-04] the list works without a page size, and in pages", () -> {
      List<String> wanted = new ArrayList<>(List.of(id));
      for (int n = 1; n <= 10; n++) {
        wanted.add(api.createOrganizationClient(org, named("Exporter " + n)).getClient().getClientId());
      }
      ListOrganizationClientsResponse listed = api.listOrganizationClients(org, 0, null);
      holds(listed.getTotalSize() == 11 && listed.getClientsCount() >= 10, listed.getClientsCount() + " without a page size");
      ListOrganizationClientsResponse start = api.listOrganizationClients(org, 10, null);
      ListOrganizationClientsResponse end = api.listOrganizationClients(org, 10, start.getNextPageToken());
      equal("pages", List.of(start.getClientsCount(), end.getClientsCount(), end.getNextPageToken()), List.of(10, 1, ""));
      equal(
          "ids",
          Stream.concat(start.getClientsList().stream(), end.getClientsList().stream()).map(found -> found.getClientId()).sorted().toList(),
          wanted.stream().sorted().toList());
    });

    report.check("[M2M-01] after delete the client is not found; this SDK takes a second delete for done", () -> {
      api.deleteOrganizationClient(org, id);
      api.deleteOrganizationClient(org, id);
      notFound(
          () -> api.getOrganizationClient(org, id),
          () -> api.updateOrganizationClient(org, id, named("x")),
          () -> api.addOrganizationClientSecret(org, id),
          () -> api.createOrganizationClient(People.NOWHERE, named("x")));
    });
  }

  private void apiTokens() {
    TokenClient api = client.tokens();
    String ownerId = Organizations.unique("owner");
    User user = People.create(client.users(), org, People.somebody().setExternalId(ownerId), false);
    Timestamp expiry = Timestamp.newBuilder().setSeconds(System.currentTimeMillis() / 1000 + 3600).build();
    CreateTokenResponse plain = api.create(org);
    CreateTokenResponse owned = api.create(org, user.getId(), Map.of("env", "ci"), expiry, "CI");

    report.check("[APIT-01] a token of an organization and one of a user, with claims, expiry and description", () -> {
      holds(plain.getTokenId().startsWith("apit_") && plain.getToken().matches("[0-9A-Za-z]+"), plain.getTokenId());
      holds(!plain.getTokenInfo().hasExpiry() && plain.getTokenInfo().getUserId().isEmpty(), "expiry or user on a plain token");
      Token info = owned.getTokenInfo();
      equal("owned", List.of(info.getUserId(), info.getCustomClaimsMap(), info.getDescription()), List.of(user.getId(), Map.of("env", "ci"), "CI"));
      equal("expiry and suffix", List.of(info.getExpiry(), info.getTokenSuffix()), List.of(expiry, end(owned.getToken())));
    });

    report.check("[APIT-02] by value and by id the token shows organization, user and roles; any other is not found", () -> {
      for (String handedIn : List.of(owned.getToken(), owned.getTokenId())) {
        Token info = api.validate(handedIn).getTokenInfo();
        equal("organization", List.of(info.getOrganizationId(), info.getOrganizationExternalId()), List.of(org, externalId));
        equal("user", List.of(info.getUserId(), info.getUserExternalId(), info.getEmail()), List.of(user.getId(), ownerId, user.getEmail()));
        equal("roles", List.copyOf(info.getRolesList()), List.of("member"));
      }
      notFound(() -> api.validate(owned.getToken().substring(1) + "x"), () -> api.validate("apit_100000000000000000"));
    });

    report.check("claims that are given replace all, none leave them; an empty description clears, none leaves it", () -> {
      Token changed = api.update(owned.getToken(), Map.of("region", "eu"), null).getTokenInfo();
      equal("changed", List.of(changed.getCustomClaimsMap(), changed.getDescription()), List.of(Map.of("region", "eu"), "CI"));
      Token cleared = api.update(owned.getTokenId(), null, "").getTokenInfo();
      equal("cleared", List.of(cleared.getCustomClaimsMap(), cleared.getDescription()), List.of(Map.of("region", "eu"), ""));
    });

    report.check("[APIT-04] lists: of the organization in pages, of the user, active ones only", () -> {
      ListTokensResponse page = api.list(org, 1, null);
      ListTokensResponse rest = api.list(org, 1, page.getNextPageToken());
      equal("pages", List.of(page.getTokens(0).getTokenId(), rest.getTokens(0).getTokenId()), List.of(owned.getTokenId(), plain.getTokenId()));
      equal("total", page.getTotalCount(), 2);
      equal("the user's", api.list(org, user.getId(), 10, null).getTokensList().stream().map(Token::getTokenId).toList(), List.of(owned.getTokenId()));
      api.invalidate(plain.getToken());
      equal("after an invalidation", api.list(org, 10, null).getTokensList().stream().map(Token::getTokenId).toList(), List.of(owned.getTokenId()));
    });

    report.check("[APIT-03] an invalidated token is not found at once; this SDK takes the end of any token for done", () -> {
      api.invalidate(owned.getTokenId());
      api.invalidate(owned.getToken());
      api.invalidate("apit_100000000000000000");
      notFound(() -> api.validate(owned.getToken()), () -> api.update(owned.getTokenId(), null, "x"));
    });

    report.check("[APIT-01] no token for an unknown organization or for a user who is no member, nor one that has expired", () -> {
      notFound(() -> api.create(People.NOWHERE));
      invalid(
          "",
          () -> api.create(org, People.NOBODY, null, null, null),
          () -> api.create(org, null, null, Timestamp.newBuilder().setSeconds(expiry.getSeconds() - 7200).build(), null));
      client.users().deleteUser(user.getId());
    });
  }
}
