const { ScalekitClient } = require('@scalekit-sdk/node');

async function main() {
  const { SCALEKIT_ENVIRONMENT_URL, SCALEKIT_CLIENT_ID, SCALEKIT_CLIENT_SECRET } = process.env;
  const client = new ScalekitClient(SCALEKIT_ENVIRONMENT_URL, SCALEKIT_CLIENT_ID, SCALEKIT_CLIENT_SECRET);
  await client.organization.createOrganization('Acme from Node');
  const page = await client.organization.listOrganization({ pageSize: 10 });
  for (const organization of page.organizations) console.log(organization.id, organization.displayName);
}

main().then(() => process.exit(0));
