package com.scalekit;

import com.scalekit.api.AuthClient;
import com.scalekit.api.Calls;
import com.scalekit.api.ConnectionClient;
import com.scalekit.api.DirectoryClient;
import com.scalekit.api.DomainClient;
import com.scalekit.api.M2MClient;
import com.scalekit.api.OrganizationClient;
import com.scalekit.api.PasswordlessClient;
import com.scalekit.api.PermissionClient;
import com.scalekit.api.RoleClient;
import com.scalekit.api.SessionClient;
import com.scalekit.api.TokenClient;
import com.scalekit.api.UserClient;
import com.scalekit.api.WebAuthnClient;
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
  private final UserClient users;
  private final RoleClient roles;
  private final PermissionClient permissions;
  private final M2MClient m2m;
  private final TokenClient tokens;
  private final DomainClient domains;
  private final SessionClient sessions;
  private final WebAuthnClient webAuthn;
  private final ConnectionClient connections;

  /** Makes a client; nothing is sent until the first call. */
  public ScalekitClient(String siteName, String clientId, String clientSecret) {
    String host = URI.create(siteName).getAuthority();
    ManagedChannel channel = ManagedChannelBuilder.forAddress(host, 443).userAgent("scalekit-sdk-java/2.1.1").build();
    authentication = new AuthClient(siteName, clientId, clientSecret);
    Calls calls = new Calls(channel, authentication);
    organizations = new OrganizationClient(calls);
    directories = new DirectoryClient(calls);
    passwordless = new PasswordlessClient(calls);
    users = new UserClient(calls);
    roles = new RoleClient(calls);
    permissions = new PermissionClient(calls);
    m2m = new M2MClient(calls);
    tokens = new TokenClient(calls);
    domains = new DomainClient(calls);
    sessions = new SessionClient(calls);
    webAuthn = new WebAuthnClient(calls);
    connections = new ConnectionClient(calls);
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

  public UserClient users() {
    return users;
  }

  public RoleClient roles() {
    return roles;
  }

  public PermissionClient permissions() {
    return permissions;
  }

  public M2MClient m2m() {
    return m2m;
  }

  public TokenClient tokens() {
    return tokens;
  }

  public DomainClient domains() {
    return domains;
  }

  public SessionClient sessions() {
    return sessions;
  }

  public WebAuthnClient webAuthn() {
    return webAuthn;
  }

  public ConnectionClient connections() {
    return connections;
  }
}
