package ring;

import com.scalekit.ScalekitClient;

/** The Java SDK's calls against a server on https://localhost: {@code core | rotation | limits}. Reads SCALEKIT_… from the environment. */
public final class Main {
  private Main() {}

  public static void main(String[] arguments) throws Exception {
    String url = System.getenv("SCALEKIT_ENVIRONMENT_URL");
    String clientId = System.getenv("SCALEKIT_CLIENT_ID");
    String secret = System.getenv("SCALEKIT_CLIENT_SECRET");
    Report report = new Report("java stand-in over https");
    ScalekitClient client = new ScalekitClient(url, clientId, secret);
    if (arguments[0].equals("limits")) {
      Refusals.limits(report, client);
    } else if (arguments[0].equals("rotation")) {
      Tokens.rotation(report, client, url);
    } else {
      new Organizations(report, client.organizations(), url).run();
      Pagination.run(report, client.organizations());
      new People(report, client).run();
      new Access(report, client).run();
      new Machines(report, client, url).run();
      Domains.run(report, client);
      Sessions.run(report, client);
      Refusals.run(report, client, url, clientId, secret);
      Tokens.run(report, client, url, clientId, secret);
      new SignIn(report, client.authentication(), url, clientId, secret).run();
      Passwordless.run(report, client.passwordless(), url);
      Tokens.slashed(report, url, clientId, secret);
    }
    // The channel's threads are no daemons.
    System.exit(report.end());
  }
}
