package com.scalekit.api;

import com.google.protobuf.Int32Value;
import com.scalekit.grpc.scalekit.v1.organizations.CreateOrganization;
import com.scalekit.grpc.scalekit.v1.organizations.CreateOrganizationRequest;
import com.scalekit.grpc.scalekit.v1.organizations.DeleteOrganizationRequest;
import com.scalekit.grpc.scalekit.v1.organizations.Feature;
import com.scalekit.grpc.scalekit.v1.organizations.GeneratePortalLinkRequest;
import com.scalekit.grpc.scalekit.v1.organizations.GetOrganizationRequest;
import com.scalekit.grpc.scalekit.v1.organizations.GetOrganizationSessionPolicyRequest;
import com.scalekit.grpc.scalekit.v1.organizations.GetPortalLinkRequest;
import com.scalekit.grpc.scalekit.v1.organizations.GetPortalLinksResponse;
import com.scalekit.grpc.scalekit.v1.organizations.Link;
import com.scalekit.grpc.scalekit.v1.organizations.ListOrganizationsRequest;
import com.scalekit.grpc.scalekit.v1.organizations.ListOrganizationsResponse;
import com.scalekit.grpc.scalekit.v1.organizations.Organization;
import com.scalekit.grpc.scalekit.v1.organizations.OrganizationServiceGrpc;
import com.scalekit.grpc.scalekit.v1.organizations.OrganizationServiceGrpc.OrganizationServiceBlockingStub;
import com.scalekit.grpc.scalekit.v1.organizations.OrganizationSessionPolicySettings;
import com.scalekit.grpc.scalekit.v1.organizations.OrganizationSettings;
import com.scalekit.grpc.scalekit.v1.organizations.OrganizationSettingsFeature;
import com.scalekit.grpc.scalekit.v1.organizations.OrganizationUserManagementSettings;
import com.scalekit.grpc.scalekit.v1.organizations.SearchOrganizationsRequest;
import com.scalekit.grpc.scalekit.v1.organizations.SearchOrganizationsResponse;
import com.scalekit.grpc.scalekit.v1.organizations.UpdateOrganization;
import com.scalekit.grpc.scalekit.v1.organizations.UpdateOrganizationRequest;
import com.scalekit.grpc.scalekit.v1.organizations.UpdateOrganizationSessionPolicyRequest;
import com.scalekit.grpc.scalekit.v1.organizations.UpdateOrganizationSettingsRequest;
import com.scalekit.grpc.scalekit.v1.organizations.UpsertUserManagementSettingsRequest;
import java.util.List;
import java.util.function.Function;

/** The SDK's organization calls, each one RPC. */
public final class OrganizationClient {
  private final Calls calls;

  public OrganizationClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<OrganizationServiceBlockingStub, R> rpc) {
    return calls.call(OrganizationServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  public Organization create(CreateOrganization organization) {
    CreateOrganizationRequest request = CreateOrganizationRequest.newBuilder().setOrganization(organization).build();
    return call(stub -> stub.createOrganization(request)).getOrganization();
  }

  public Organization getById(String id) {
    return call(stub -> stub.getOrganization(GetOrganizationRequest.newBuilder().setId(id).build())).getOrganization();
  }

  public Organization getByExternalId(String externalId) {
    GetOrganizationRequest request = GetOrganizationRequest.newBuilder().setExternalId(externalId).build();
    return call(stub -> stub.getOrganization(request)).getOrganization();
  }

  public Organization updateById(String id, UpdateOrganization organization) {
    UpdateOrganizationRequest request =
        UpdateOrganizationRequest.newBuilder()
            .setId(id)
            .setOrganization(organization)
            .build();
    return call(stub -> stub.updateOrganization(request)).getOrganization();
  }

  public Organization updateByExternalId(String externalId, UpdateOrganization organization) {
    UpdateOrganizationRequest request =
        UpdateOrganizationRequest.newBuilder().setExternalId(externalId).setOrganization(organization).build();
    return call(stub -> stub.updateOrganization(request)).getOrganization();
  }

  public void deleteById(String id) {
    call(stub -> stub.deleteOrganization(DeleteOrganizationRequest.newBuilder().setId(id).build()));
  }

  public void deleteByExternalId(String externalId) {
    call(stub -> stub.deleteOrganization(DeleteOrganizationRequest.newBuilder().setExternalId(externalId).build()));
  }

  /** No size means 10, no token the first page. */
  public ListOrganizationsResponse listOrganizations(int pageSize, String pageToken) {
    ListOrganizationsRequest request =
        ListOrganizationsRequest.newBuilder()
            .setPageSize(pageSize <= 0 ? 10 : pageSize)
            .setPageToken(pageToken == null ? "" : pageToken)
            .build();
    return call(stub -> stub.listOrganization(request));
  }

  public SearchOrganizationsResponse search(String query, int pageSize, String pageToken) {
    SearchOrganizationsRequest request =
        SearchOrganizationsRequest.newBuilder().setQuery(query).setPageSize(pageSize).setPageToken(pageToken).build();
    return call(stub -> stub.searchOrganization(request));
  }

  public Link generatePortalLink(String organizationId) {
    return generatePortalLinkForFeatures(organizationId, List.of());
  }

  public Link generatePortalLinkForFeatures(String organizationId, List<Feature> features) {
    GeneratePortalLinkRequest request =
        GeneratePortalLinkRequest.newBuilder().setId(organizationId).addAllFeatures(features).build();
    return call(stub -> stub.generatePortalLink(request)).getLink();
  }

  public Organization updateOrganizationSettings(String organizationId, List<OrganizationSettingsFeature> features) {
    UpdateOrganizationSettingsRequest request =
        UpdateOrganizationSettingsRequest.newBuilder()
            .setId(organizationId)
            .setSettings(OrganizationSettings.newBuilder().addAllFeatures(features))
            .build();
    return call(stub -> stub.updateOrganizationSettings(request)).getOrganization();
  }

  /** {@code null} clears the cap, 0 means no limit. */
  public OrganizationUserManagementSettings upsertUserManagementSettings(String organizationId, Integer maxAllowedUsers) {
    OrganizationUserManagementSettings.Builder settings = OrganizationUserManagementSettings.newBuilder();
    if (maxAllowedUsers != null) {
      settings.setMaxAllowedUsers(Int32Value.of(maxAllowedUsers));
    }
    UpsertUserManagementSettingsRequest request =
        UpsertUserManagementSettingsRequest.newBuilder().setOrganizationId(organizationId).setSettings(settings).build();
    return call(stub -> stub.upsertUserManagementSettings(request)).getSettings();
  }

  public OrganizationSessionPolicySettings getOrganizationSessionPolicy(String organizationId) {
    GetOrganizationSessionPolicyRequest request =
        GetOrganizationSessionPolicyRequest.newBuilder().setOrganizationId(organizationId).build();
    return call(stub -> stub.getOrganizationSessionPolicy(request)).getPolicy();
  }

  public OrganizationSessionPolicySettings updateOrganizationSessionPolicy(UpdateOrganizationSessionPolicyRequest request) {
    return call(stub -> stub.updateOrganizationSessionPolicy(request)).getPolicy();
  }

  /** Not a method of the SDK: an RPC that API clients may not call. */
  public GetPortalLinksResponse portalLinksAsMember(String organizationId) {
    return call(stub -> stub.getPortalLinks(GetPortalLinkRequest.newBuilder().setId(organizationId).build()));
  }
}
