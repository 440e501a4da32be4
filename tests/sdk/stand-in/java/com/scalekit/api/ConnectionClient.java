package com.scalekit.api;

import com.scalekit.grpc.scalekit.v1.connections.ConnectionServiceGrpc.ConnectionServiceBlockingStub;
import com.scalekit.grpc.scalekit.v1.connections.ConnectionServiceGrpc;
import com.scalekit.grpc.scalekit.v1.connections.ListConnectionsRequest;
import com.scalekit.grpc.scalekit.v1.connections.ListConnectionsResponse;
import java.util.function.Function;

/** Connections, without the calls for those of one organization, which the server does not offer yet. */
public final class ConnectionClient {
  private final Calls calls;

  public ConnectionClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<ConnectionServiceBlockingStub, R> rpc) {
    return calls.call(ConnectionServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  /** Asks for disabled and unfinished ones too, as does the search by domain. */
  public ListConnectionsResponse listConnectionsByOrganization(String organizationId) {
    ListConnectionsRequest request = ListConnectionsRequest.newBuilder().setOrganizationId(organizationId).setInclude("all").build();
    return call(stub -> stub.listConnections(request));
  }

  public ListConnectionsResponse listConnectionsByDomain(String domain) {
    return call(stub -> stub.listConnections(ListConnectionsRequest.newBuilder().setDomain(domain).setInclude("all").build()));
  }
}
