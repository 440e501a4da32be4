package com.scalekit.api;

import com.google.protobuf.Int32Value;
import com.scalekit.grpc.scalekit.v1.domains.CreateDomain;
import com.scalekit.grpc.scalekit.v1.domains.CreateDomainRequest;
import com.scalekit.grpc.scalekit.v1.domains.DeleteDomainRequest;
import com.scalekit.grpc.scalekit.v1.domains.Domain;
import com.scalekit.grpc.scalekit.v1.domains.DomainServiceGrpc.DomainServiceBlockingStub;
import com.scalekit.grpc.scalekit.v1.domains.DomainServiceGrpc;
import com.scalekit.grpc.scalekit.v1.domains.DomainType;
import com.scalekit.grpc.scalekit.v1.domains.GetDomainRequest;
import com.scalekit.grpc.scalekit.v1.domains.ListDomainRequest;
import java.util.List;
import java.util.function.Function;

/** Domains of organizations, each call one RPC. */
public final class DomainClient {
  private static final int PAGE = 100;

  private final Calls calls;

  public DomainClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<DomainServiceBlockingStub, R> rpc) {
    return calls.call(DomainServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  public Domain createDomain(String organizationId, String domainName) {
    return createDomain(organizationId, domainName, DomainType.DOMAIN_TYPE_UNSPECIFIED);
  }

  public Domain createDomain(String organizationId, String domainName, DomainType domainType) {
    CreateDomainRequest request =
        CreateDomainRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setDomain(CreateDomain.newBuilder().setDomain(domainName).setDomainType(domainType))
            .build();
    return call(stub -> stub.createDomain(request)).getDomain();
  }

  public Domain getDomainById(String organizationId, String domainId) {
    GetDomainRequest request = GetDomainRequest.newBuilder().setOrganizationId(organizationId).setId(domainId).build();
    return call(stub -> stub.getDomain(request)).getDomain();
  }

  public List<Domain> listDomainsByOrganizationId(String organizationId) {
    return listDomainsByOrganizationId(organizationId, DomainType.DOMAIN_TYPE_UNSPECIFIED);
  }

  /** Asks for a page of 100. */
  public List<Domain> listDomainsByOrganizationId(String organizationId, DomainType domainType) {
    ListDomainRequest request =
        ListDomainRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setDomainType(domainType)
            .setPageSize(Int32Value.of(PAGE))
            .build();
    return call(stub -> stub.listDomains(request)).getDomainsList();
  }

  public void deleteDomain(String organizationId, String domainId) {
    call(stub -> stub.deleteDomain(DeleteDomainRequest.newBuilder().setOrganizationId(organizationId).setId(domainId).build()));
  }
}
