package scalekit

import (
	"context"
	"errors"

	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/directories"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/directories/directoriesconnect"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/organizations"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/organizations/organizationsconnect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type (
	ListOrganizationsResponse  = organizations.ListOrganizationsResponse
	GetOrganizationResponse    = organizations.GetOrganizationResponse
	CreateOrganizationResponse = organizations.CreateOrganizationResponse
	UpdateOrganizationResponse = organizations.UpdateOrganizationResponse
	UpdateOrganization         = organizations.UpdateOrganization
	ListOrganizationOptions    = organizations.ListOrganizationsRequest
	Link                       = organizations.Link
	ListDirectoriesResponse    = directories.ListDirectoriesResponse
)

// CreateOrganizationOptions: the SDK's create knows no slug and no logo, and leaves an empty external id out.
type CreateOrganizationOptions struct {
	ExternalId string
	Metadata   map[string]string
}

type Feature struct {
	Name    string
	Enabled bool
}

type OrganizationSettings struct {
	Features []Feature
}

// OrganizationUserManagementSettings: nil clears the cap, 0 means no limit.
type OrganizationUserManagementSettings struct {
	MaxAllowedUsers *int32
}

type Organization interface {
	CreateOrganization(ctx context.Context, name string, options CreateOrganizationOptions) (*CreateOrganizationResponse, error)
	ListOrganization(ctx context.Context, options *ListOrganizationOptions) (*ListOrganizationsResponse, error)
	GetOrganization(ctx context.Context, id string) (*GetOrganizationResponse, error)
	GetOrganizationByExternalId(ctx context.Context, externalID string) (*GetOrganizationResponse, error)
	UpdateOrganization(ctx context.Context, id string, organization *UpdateOrganization) (*UpdateOrganizationResponse, error)
	UpdateOrganizationByExternalId(ctx context.Context, externalID string, organization *UpdateOrganization) (*UpdateOrganizationResponse, error)
	DeleteOrganization(ctx context.Context, id string) error
	GeneratePortalLink(ctx context.Context, organizationID string) (*Link, error)
	UpdateOrganizationSettings(ctx context.Context, id string, settings OrganizationSettings) (*GetOrganizationResponse, error)
	UpsertUserManagementSettings(ctx context.Context, organizationID string, settings OrganizationUserManagementSettings) (*organizations.OrganizationUserManagementSettings, error)
}

type Directory interface {
	ListDirectories(ctx context.Context, organizationID string) (*ListDirectoriesResponse, error)
}

var errEmptyAnswer = errors.New("the answer lacks its message")

type organizationCalls struct {
	c    *client
	rpcs organizationsconnect.OrganizationServiceClient
}

func newOrganization(c *client) Organization {
	return &organizationCalls{c, grpcClient(c, organizationsconnect.NewOrganizationServiceClient)}
}

func (o *organizationCalls) CreateOrganization(ctx context.Context, name string, options CreateOrganizationOptions) (*CreateOrganizationResponse, error) {
	organization := &organizations.CreateOrganization{DisplayName: name, Metadata: options.Metadata}
	if options.ExternalId != "" {
		organization.ExternalId = &options.ExternalId
	}
	return call(ctx, o.c, o.rpcs.CreateOrganization, &organizations.CreateOrganizationRequest{Organization: organization})
}

// ListOrganization sends the options as they are; without options a zero-length message.
func (o *organizationCalls) ListOrganization(ctx context.Context, options *ListOrganizationOptions) (*ListOrganizationsResponse, error) {
	return call(ctx, o.c, o.rpcs.ListOrganization, options)
}

func (o *organizationCalls) GetOrganization(ctx context.Context, id string) (*GetOrganizationResponse, error) {
	return call(ctx, o.c, o.rpcs.GetOrganization, &organizations.GetOrganizationRequest{Identities: &organizations.GetOrganizationRequest_Id{Id: id}})
}

func (o *organizationCalls) GetOrganizationByExternalId(ctx context.Context, externalID string) (*GetOrganizationResponse, error) {
	return call(ctx, o.c, o.rpcs.GetOrganization, &organizations.GetOrganizationRequest{Identities: &organizations.GetOrganizationRequest_ExternalId{ExternalId: externalID}})
}

func (o *organizationCalls) UpdateOrganization(ctx context.Context, id string, organization *UpdateOrganization) (*UpdateOrganizationResponse, error) {
	return call(ctx, o.c, o.rpcs.UpdateOrganization, &organizations.UpdateOrganizationRequest{
		Identities: &organizations.UpdateOrganizationRequest_Id{Id: id}, Organization: organization,
	})
}

func (o *organizationCalls) UpdateOrganizationByExternalId(ctx context.Context, externalID string, organization *UpdateOrganization) (*UpdateOrganizationResponse, error) {
	return call(ctx, o.c, o.rpcs.UpdateOrganization, &organizations.UpdateOrganizationRequest{
		Identities: &organizations.UpdateOrganizationRequest_ExternalId{ExternalId: externalID}, Organization: organization,
	})
}

func (o *organizationCalls) DeleteOrganization(ctx context.Context, id string) error {
	_, err := call(ctx, o.c, o.rpcs.DeleteOrganization, &organizations.DeleteOrganizationRequest{Identities: &organizations.DeleteOrganizationRequest_Id{Id: id}})
	return err
}

func (o *organizationCalls) GeneratePortalLink(ctx context.Context, organizationID string) (*Link, error) {
	answer, err := call(ctx, o.c, o.rpcs.GeneratePortalLink, &organizations.GeneratePortalLinkRequest{Id: organizationID})
	if err != nil {
		return nil, err
	}
	if answer.Link == nil {
		return nil, errEmptyAnswer
	}
	return answer.Link, nil
}

func (o *organizationCalls) UpdateOrganizationSettings(ctx context.Context, id string, settings OrganizationSettings) (*GetOrganizationResponse, error) {
	request := &organizations.UpdateOrganizationSettingsRequest{Id: id, Settings: &organizations.OrganizationSettings{}}
	for _, feature := range settings.Features {
		request.Settings.Features = append(request.Settings.Features, &organizations.OrganizationSettingsFeature{Name: feature.Name, Enabled: feature.Enabled})
	}
	return call(ctx, o.c, o.rpcs.UpdateOrganizationSettings, request)
}

func (o *organizationCalls) UpsertUserManagementSettings(ctx context.Context, organizationID string, settings OrganizationUserManagementSettings) (*organizations.OrganizationUserManagementSettings, error) {
	request := &organizations.UpsertUserManagementSettingsRequest{OrganizationId: organizationID, Settings: &organizations.OrganizationUserManagementSettings{}}
	if settings.MaxAllowedUsers != nil {
		request.Settings.MaxAllowedUsers = wrapperspb.Int32(*settings.MaxAllowedUsers)
	}
	answer, err := call(ctx, o.c, o.rpcs.UpsertUserManagementSettings, request)
	if err != nil {
		return nil, err
	}
	if answer.Settings == nil {
		return nil, errEmptyAnswer
	}
	return answer.Settings, nil
}

type directoryCalls struct {
	c    *client
	rpcs directoriesconnect.DirectoryServiceClient
}

func newDirectory(c *client) Directory {
	return &directoryCalls{c, grpcClient(c, directoriesconnect.NewDirectoryServiceClient)}
}

func (d *directoryCalls) ListDirectories(ctx context.Context, organizationID string) (*ListDirectoriesResponse, error) {
	return call(ctx, d.c, d.rpcs.ListDirectories, &directories.ListDirectoriesRequest{OrganizationId: organizationID})
}
