package com.scalekit;

import com.scalekit.api.AuthClient;
import com.scalekit.api.Calls;
import com.scalekit.api.DirectoryClient;
import com.scalekit.api.OrganizationClient;
import com.scalekit.api.PasswordlessClient;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.net.URI;

/**
 * Stands in for the published Java SDK in Narthex's tests, with its package and method names for the calls that the
 * tests make. It is our own code on the libraries that the SDK uses (grpc-netty-shaded, Apache HttpClient, jose4j), and
 * it speaks as sdk-clients.md says that the SDK does: the authority of the URL as host, always port 443, always TLS with
 * the JVM's trust store, a token before the first call.
 */
public final class ScalekitClient {
  private final AuthClient authentication;
  private final OrganizationClient organizations;
  private final DirectoryClient directories;
  private final PasswordlessClient passwordless;

  /** Makes a client; nothing is sent until the first call. */
  public ScalekitClient(String siteName, String clientId, String clientSecret) {
    String host = URI.create(siteName).getAuthority();
    ManagedChannel channel = ManagedChannelBuilder.forAddress(host, 443).userAgent("scalekit-sdk-java/2.1.1").build();
    authentication = new AuthClient(siteName, clientId, clientSecret);
    Calls calls = new Calls(channel, authentication);
    organizations = new OrganizationClient(calls);
    directories = new DirectoryClient(calls);
    passwordless = new PasswordlessClient(calls);
  }

  public AuthClient authentication() {
    return authentication;
  }

  public OrganizationClient organizations() {
    return organizations;
  }

  public PasswordlessClient passwordless() {
    return passwordless;
  }

  public DirectoryClient directories() {
    return directories;
  }
}
