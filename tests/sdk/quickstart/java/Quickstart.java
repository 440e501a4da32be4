import com.scalekit.ScalekitClient;
import com.scalekit.grpc.scalekit.v1.organizations.CreateOrganization;

public class Quickstart {
  public static void main(String[] arguments) {
    // The Java SDK always dials port 443: the URL must be https://localhost, without a port.
    ScalekitClient client =
        new ScalekitClient(
            System.getenv("SCALEKIT_ENVIRONMENT_URL"), System.getenv("SCALEKIT_CLIENT_ID"), System.getenv("SCALEKIT_CLIENT_SECRET"));
    client.organizations().create(CreateOrganization.newBuilder().setDisplayName("Acme from Java").build());
    client.organizations().listOrganizations(10, null).getOrganizationsList()
        .forEach(organization -> System.out.println(organization.getId() + " " + organization.getDisplayName()));
    System.exit(0);
  }
}
