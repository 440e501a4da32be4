package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/scalekit-inc/scalekit-sdk-go/v2"
)

func main() {
	ctx := context.Background()
	client := scalekit.NewScalekitClient(os.Getenv("SCALEKIT_ENVIRONMENT_URL"), os.Getenv("SCALEKIT_CLIENT_ID"), os.Getenv("SCALEKIT_CLIENT_SECRET"))
	if _, err := client.Organization().CreateOrganization(ctx, "Acme from Go", scalekit.CreateOrganizationOptions{}); err != nil {
		log.Fatal(err)
	}
	page, err := client.Organization().ListOrganization(ctx, &scalekit.ListOrganizationOptions{PageSize: 10})
	if err != nil {
		log.Fatal(err)
	}
	for _, organization := range page.Organizations {
		fmt.Println(organization.Id, organization.DisplayName)
	}
}
