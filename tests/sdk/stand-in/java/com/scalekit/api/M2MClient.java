package com.scalekit.api;

import com.scalekit.exceptions.APIException;
import com.scalekit.grpc.scalekit.v1.clients.ClientServiceGrpc.ClientServiceBlockingStub;
import com.scalekit.grpc.scalekit.v1.clients.AddEnvironmentRedirectUriRequest;
import com.scalekit.grpc.scalekit.v1.clients.ClientServiceGrpc;
import com.scalekit.grpc.scalekit.v1.clients.CreateOrganizationClientRequest;
import com.scalekit.grpc.scalekit.v1.clients.CreateOrganizationClientResponse;
import com.scalekit.grpc.scalekit.v1.clients.CreateOrganizationClientSecretRequest;
import com.scalekit.grpc.scalekit.v1.clients.CreateOrganizationClientSecretResponse;
import com.scalekit.grpc.scalekit.v1.clients.DeleteOrganizationClientRequest;
import com.scalekit.grpc.scalekit.v1.clients.DeleteOrganizationClientSecretRequest;
import com.scalekit.grpc.scalekit.v1.clients.GetOrganizationClientRequest;
import com.scalekit.grpc.scalekit.v1.clients.GetOrganizationClientResponse;
import com.scalekit.grpc.scalekit.v1.clients.ListOrganizationClientsRequest;
import com.scalekit.grpc.scalekit.v1.clients.ListOrganizationClientsResponse;
import com.scalekit.grpc.scalekit.v1.clients.OrganizationClient;
import com.scalekit.grpc.scalekit.v1.clients.RemoveEnvironmentRedirectUriRequest;
import com.scalekit.grpc.scalekit.v1.clients.UpdateOrganizationClientRequest;
import com.scalekit.grpc.scalekit.v1.clients.UpdateOrganizationClientResponse;
import java.util.function.Function;

/** Machine clients of organizations, each call one RPC. */
public final class M2MClient {
  private static final int NOT_FOUND = 5;
  private static final int LEAST = 10;
  private static final int MOST = 100;

  private final Calls calls;

  public M2MClient(Calls calls) {
    this.calls = calls;
  }

  private <R> R call(Function<ClientServiceBlockingStub, R> rpc) {
    return calls.call(ClientServiceGrpc.newBlockingStub(calls.channel), rpc);
  }

  public CreateOrganizationClientResponse createOrganizationClient(String organizationId, OrganizationClient client) {
    CreateOrganizationClientRequest request =
        CreateOrganizationClientRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setClient(client)
            .build();
    return call(stub -> stub.createOrganizationClient(request));
  }

  public GetOrganizationClientResponse getOrganizationClient(String organizationId, String clientId) {
    GetOrganizationClientRequest request =
        GetOrganizationClientRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setClientId(clientId)
            .build();
    return call(stub -> stub.getOrganizationClient(request));
  }

  public UpdateOrganizationClientResponse updateOrganizationClient(String organizationId, String clientId, OrganizationClient client) {
    UpdateOrganizationClientRequest request =
        UpdateOrganizationClientRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setClientId(clientId)
            .setClient(client)
            .build();
    return call(stub -> stub.updateOrganizationClient(request));
  }

  public void deleteOrganizationClient(String organizationId, String clientId) {
    DeleteOrganizationClientRequest request =
        DeleteOrganizationClientRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setClientId(clientId)
            .build();
    goneIsGone(() -> call(stub -> stub.deleteOrganizationClient(request)));
  }

  public CreateOrganizationClientSecretResponse addOrganizationClientSecret(String organizationId, String clientId) {
    CreateOrganizationClientSecretRequest request =
        CreateOrganizationClientSecretRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setClientId(clientId)
            .build();
    return call(stub -> stub.createOrganizationClientSecret(request));
  }

  public void removeOrganizationClientSecret(String organizationId, String clientId, String secretId) {
    DeleteOrganizationClientSecretRequest request =
        DeleteOrganizationClientSecretRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setClientId(clientId)
            .setSecretId(secretId)
            .build();
    goneIsGone(() -> call(stub -> stub.deleteOrganizationClientSecret(request)));
  }

  /** A size is brought into the bounds of the SDK; 0 means the server's. */
  public ListOrganizationClientsResponse listOrganizationClients(String organizationId, int pageSize, String pageToken) {
    ListOrganizationClientsRequest request =
        ListOrganizationClientsRequest.newBuilder()
            .setOrganizationId(organizationId)
            .setPageSize(pageSize == 0 ? 0 : Math.max(LEAST, Math.min(MOST, pageSize)))
            .setPageToken(pageToken == null ? "" : pageToken)
            .build();
    return call(stub -> stub.listOrganizationClients(request));
  }

  /** Not a method of the SDK, which has no call that gives ALREADY_EXISTS; nor is the next one. */
  public void addEnvironmentRedirectUri(String uri) {
    call(stub -> stub.addEnvironmentRedirectUri(AddEnvironmentRedirectUriRequest.newBuilder().setRedirectUri(uri).build()));
  }

  public void removeEnvironmentRedirectUri(String uri) {
    call(stub -> stub.removeEnvironmentRedirectUri(RemoveEnvironmentRedirectUriRequest.newBuilder().setRedirectUri(uri).build()));
  }

  /** The SDK takes the deletion of what is not there for done. */
  private static void goneIsGone(Runnable deletion) {
    try {
      deletion.run();
    } catch (APIException error) {
      if (error.getGrpcStatusCode() != NOT_FOUND) {
        throw error;
      }
    }
  }
}
