package ring;

import static ring.Report.equal;
import static ring.Report.holds;
import static ring.Report.refused;

import com.google.protobuf.BoolValue;
import com.google.protobuf.Int32Value;
import com.scalekit.api.OrganizationClient;
import com.scalekit.grpc.scalekit.v1.commons.TimeUnit;
import com.scalekit.grpc.scalekit.v1.organizations.CreateOrganization;
import com.scalekit.grpc.scalekit.v1.organizations.Feature;
import com.scalekit.grpc.scalekit.v1.organizations.Link;
import com.scalekit.grpc.scalekit.v1.organizations.Organization;
import com.scalekit.grpc.scalekit.v1.organizations.OrganizationSessionPolicySettings;
import com.scalekit.grpc.scalekit.v1.organizations.OrganizationSettingsFeature;
import com.scalekit.grpc.scalekit.v1.organizations.SessionPolicyType;
import com.scalekit.grpc.scalekit.v1.organizations.UpdateOrganization;
import com.scalekit.grpc.scalekit.v1.organizations.UpdateOrganizationSessionPolicyRequest;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** The life of an organization as the Java SDK drives it. */
final class Organizations {
  private final Report report;
  private final OrganizationClient orgs;
  private final String origin;
  private final List<String> made = new ArrayList<>();

  Organizations(Report report, OrganizationClient orgs, String origin) {
    this.report = report;
    this.orgs = orgs;
    this.origin = origin;
  }

  static String unique(String prefix) {
    return prefix + "-" + UUID.randomUUID().toString().substring(0, 13);
  }

  private Organization create(CreateOrganization.Builder organization) {
    Organization created = orgs.create(organization.build());
    made.add(created.getId());
    return created;
  }

  private static CreateOrganization.Builder named(String name) {
    return CreateOrganization.newBuilder().setDisplayName(name);
  }

  void run() {
    life();
    settings();
    sessionPolicy();
    search();
    endOfLife();
    report.check("[ORG-05] what the ring made is deleted again", () -> made.forEach(orgs::deleteById));
  }

  private void life() {
    report.check("[ORG-01 API-06] create with a display name only: org_ id and both timestamps", () -> {
      Organization plain = create(named("Plain Organization"));
      holds(plain.getId().matches("org_[0-9]{15,28}"), plain.getId());
      equal("display name", plain.getDisplayName(), "Plain Organization");
      equal("update_time", plain.getUpdateTime(), plain.getCreateTime());
      holds(Math.abs(plain.getCreateTime().getSeconds() - System.currentTimeMillis() / 1000) < 300, "create_time is not now");
      holds(!plain.hasExternalId() && !plain.hasSlug(), "unset fields came back set");
    });

    String externalId = unique("crm");
    Organization[] full = new Organization[1];
    report.check("[ORG-03 ORG-06 ORG-08] external id, metadata, slug and logo come back from create, get and get by external id", () -> {
      String slug = unique("acme") + ".example.com";
      full[0] =
          create(
              named("Full Organization")
                  .setExternalId(externalId)
                  .setSlug(slug)
                  .setLogoUrl("https://cdn.example.com/logo")
                  .putAllMetadata(Map.of("plan", "gold", "tier-2", "ü€")));
      for (Organization found : List.of(full[0], orgs.getById(full[0].getId()), orgs.getByExternalId(externalId))) {
        equal("id", found.getId(), full[0].getId());
        equal("external id", found.getExternalId(), externalId);
        equal("slug", found.getSlug(), slug);
        equal("logo", found.getLogoUrl(), "https://cdn.example.com/logo");
        equal("metadata", found.getMetadataMap(), Map.of("plan", "gold", "tier-2", "ü€"));
      }
    });

    report.check("[ORG-10] the organization created last is the first of the list", () -> {
      Organization newest = create(named("Newest Organization"));
      equal("first id", orgs.listOrganizations(1, null).getOrganizations(0).getId(), newest.getId());
    });

    report.check("[ORG-07 ORG-09] an update of one field, by id and by external id, leaves the others", () -> {
      orgs.updateById(full[0].getId(), UpdateOrganization.newBuilder().setDisplayName("Renamed").build());
      Organization updated = orgs.updateByExternalId(externalId, UpdateOrganization.newBuilder().setLogoUrl("").build());
      equal("display name", updated.getDisplayName(), "Renamed");
      equal("logo", updated.getLogoUrl(), "");
      equal("slug", updated.getSlug(), full[0].getSlug());
      equal("metadata", updated.getMetadataMap(), full[0].getMetadataMap());
    });
  }

  private static OrganizationSettingsFeature feature(String name, boolean enabled) {
    return OrganizationSettingsFeature.newBuilder().setName(name).setEnabled(enabled).build();
  }

  private void settings() {
    Organization org = create(named("Settings Organization"));

    report.check("[ORG-12] element 0 of the features is sso, element 1 dir_sync; only the named one changes", () -> {
      List<OrganizationSettingsFeature> before = orgs.getById(org.getId()).getSettings().getFeaturesList();
      equal("features", before.subList(0, 2), List.of(feature("sso", false), feature("dir_sync", false)));
      Organization on = orgs.updateOrganizationSettings(org.getId(), List.of(feature("dir_sync", true)));
      equal("features", on.getSettings().getFeaturesList().subList(0, 2), List.of(feature("sso", false), feature("dir_sync", true)));
      refused(() -> orgs.updateOrganizationSettings(org.getId(), List.of(feature("teleport", true))), 3, "INVALID_ARGUMENT", "");
    });

    report.check("[CTL-57] a portal link for a disabled feature gives INVALID_ARGUMENT; for an enabled one a location and an expiry", () -> {
      refused(() -> orgs.generatePortalLinkForFeatures(org.getId(), List.of(Feature.sso)), 3, "INVALID_ARGUMENT", "");
      for (Link link : List.of(orgs.generatePortalLink(org.getId()), orgs.generatePortalLinkForFeatures(org.getId(), List.of(Feature.dir_sync)))) {
        holds(link.getLocation().startsWith(origin + "/"), link.getLocation());
        holds(link.getExpireTime().getSeconds() > System.currentTimeMillis() / 1000, "expires in the past");
      }
    });

    report.check("seat cap: set, 0 comes back as an explicit 0, null clears it", () -> {
      equal("cap", orgs.upsertUserManagementSettings(org.getId(), 25).getMaxAllowedUsers().getValue(), 25);
      holds(orgs.upsertUserManagementSettings(org.getId(), 0).hasMaxAllowedUsers(), "0 came back as absent");
      holds(!orgs.upsertUserManagementSettings(org.getId(), null).hasMaxAllowedUsers(), "the cap is still set");
    });
  }

  private void sessionPolicy() {
    Organization org = create(named("Policy Organization"));
    UpdateOrganizationSessionPolicyRequest.Builder request =
        UpdateOrganizationSessionPolicyRequest.newBuilder().setOrganizationId(org.getId());

    report.check("[ORG-14] session policy: APPLICATION at first; CUSTOM in DAYS and HOURS comes back in MINUTES; reverted", () -> {
      OrganizationSessionPolicySettings before = orgs.getOrganizationSessionPolicy(org.getId());
      equal("source", before.getPolicySource(), SessionPolicyType.APPLICATION);
      holds(!before.hasAbsoluteSessionTimeout() && !before.hasIdleSessionTimeout(), "timeouts present");
      orgs.updateOrganizationSessionPolicy(
          request
              .setPolicySource(SessionPolicyType.CUSTOM)
              .setAbsoluteSessionTimeout(Int32Value.of(2))
              .setAbsoluteSessionTimeoutUnit(TimeUnit.DAYS)
              .setIdleSessionTimeoutEnabled(BoolValue.of(true))
              .setIdleSessionTimeout(Int32Value.of(5))
              .setIdleSessionTimeoutUnit(TimeUnit.HOURS)
              .build());
      OrganizationSessionPolicySettings custom = orgs.getOrganizationSessionPolicy(org.getId());
      equal("absolute", custom.getAbsoluteSessionTimeout().getValue(), 2880);
      equal("absolute unit", custom.getAbsoluteSessionTimeoutUnit(), TimeUnit.MINUTES);
      equal("idle", custom.getIdleSessionTimeout().getValue(), 300);
      equal("idle unit", custom.getIdleSessionTimeoutUnit(), TimeUnit.MINUTES);
      OrganizationSessionPolicySettings after =
          orgs.updateOrganizationSessionPolicy(
              UpdateOrganizationSessionPolicyRequest.newBuilder()
                  .setOrganizationId(org.getId())
                  .setPolicySource(SessionPolicyType.APPLICATION)
                  .build());
      equal("source", after.getPolicySource(), SessionPolicyType.APPLICATION);
      holds(!after.hasAbsoluteSessionTimeout(), "the absolute timeout is still there");
    });
  }

  private void search() {
    report.check("[ORG-11] search finds by name without regard to case", () -> {
      String word = "zq" + UUID.randomUUID().toString().substring(0, 8);
      Organization hit = create(named("Searchable " + word.toUpperCase(java.util.Locale.ROOT)));
      equal("hits", orgs.search(word, 10, "").getOrganizationsList().stream().map(Organization::getId).toList(), List.of(hit.getId()));
    });
  }

  private void endOfLife() {
    report.check("[ORG-09 ORG-05] delete by external id: not found afterwards; the external id is free at once", () -> {
      String externalId = unique("gone");
      Organization doomed = orgs.create(named("Doomed").setExternalId(externalId).build());
      orgs.deleteByExternalId(externalId);
      refused(() -> orgs.getById(doomed.getId()), 5, "NOT_FOUND", "");
      refused(() -> orgs.getByExternalId(externalId), 5, "NOT_FOUND", "");
      refused(() -> orgs.deleteByExternalId(externalId), 5, "NOT_FOUND", "");
      Organization again = orgs.create(named("Reborn").setExternalId(externalId).build());
      holds(!again.getId().equals(doomed.getId()), "the same id came back");
      orgs.deleteById(again.getId());
    });
  }
}
