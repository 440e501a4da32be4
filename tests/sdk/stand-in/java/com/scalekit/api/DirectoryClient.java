package com.scalekit.api;

import com.scalekit.grpc.scalekit.v1.directories.DirectoryServiceGrpc;
import com.scalekit.grpc.scalekit.v1.directories.ListDirectoriesRequest;
import com.scalekit.grpc.scalekit.v1.directories.ListDirectoriesResponse;

public final class DirectoryClient {
  private final Calls calls;

  public DirectoryClient(Calls calls) {
    this.calls = calls;
  }

  public ListDirectoriesResponse listDirectories(String organizationId) {
    ListDirectoriesRequest request = ListDirectoriesRequest.newBuilder().setOrganizationId(organizationId).build();
    return calls.call(DirectoryServiceGrpc.newBlockingStub(calls.channel), stub -> stub.listDirectories(request));
  }
}
