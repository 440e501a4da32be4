package main

import (
	"fmt"
	"slices"

	"connectrpc.com/connect"
	"github.com/scalekit-inc/scalekit-sdk-go/v2"
)

const rows = 250

// pages gives all pages from the first to the last, following next_page_token.
func (s *session) pages(size uint32) ([]*scalekit.ListOrganizationsResponse, error) {
	var found []*scalekit.ListOrganizationsResponse
	token := ""
	for {
		page, err := s.orgs.ListOrganization(s.ctx, &scalekit.ListOrganizationOptions{PageSize: size, PageToken: token})
		if err != nil {
			return nil, err
		}
		found = append(found, page)
		if token = page.NextPageToken; token == "" {
			return found, nil
		}
		if len(found) > 10_000 {
			return nil, fmt.Errorf("next_page_token never ends")
		}
	}
}

func ids(page *scalekit.ListOrganizationsResponse) []string {
	var found []string
	for _, organization := range page.Organizations {
		found = append(found, organization.Id)
	}
	return found
}

func (s *session) pagination() {
	var made []string
	for row := range rows {
		made = append(made, s.create(fmt.Sprintf("Page Row %d", row), scalekit.CreateOrganizationOptions{}).Id)
	}
	newest := slices.Clone(made)
	slices.Reverse(newest)

	for _, size := range []uint32{100, 30, 1} {
		s.check(fmt.Sprintf("[ORG-10 API-05] %d organizations in pages of %d: each once, newest first, total_size true", rows, size), func() error {
			found, err := s.pages(size)
			if err != nil {
				return err
			}
			seen := map[string]bool{}
			var all, own []string
			for _, page := range found {
				for _, id := range ids(page) {
					if seen[id] {
						return fmt.Errorf("%s came twice", id)
					}
					seen[id] = true
					all = append(all, id)
					if slices.Contains(made, id) {
						own = append(own, id)
					}
				}
			}
			for number, page := range found {
				if err := first(
					equal("total_size", int(page.TotalSize), len(all)),
					holds(number == len(found)-1 || len(page.Organizations) == int(size), "page %d has %d rows", number, len(page.Organizations)),
				); err != nil {
					return err
				}
			}
			return first(
				holds(slices.Equal(own, newest), "order or rows differ: %d of %d rows", len(own), rows),
				equal("prev_page_token of the first page", found[0].PrevPageToken, ""),
			)
		})
	}

	s.check("[API-05] prev_page_token leads back through the same pages", func() error {
		forward, err := s.pages(30)
		if err != nil {
			return err
		}
		at := len(forward) - 1
		for token := forward[at].PrevPageToken; token != ""; at-- {
			if at == 0 {
				return fmt.Errorf("prev_page_token never ends")
			}
			page, err := s.orgs.ListOrganization(s.ctx, &scalekit.ListOrganizationOptions{PageSize: 30, PageToken: token})
			if err != nil {
				return err
			}
			if !slices.Equal(ids(page), ids(forward[at-1])) {
				return fmt.Errorf("page %d differs on the way back", at-1)
			}
			token = page.PrevPageToken
		}
		return equal("pages left on the way back", at, 0)
	})

	s.check("[API-05] a malformed page token is refused", func() error {
		_, err := s.orgs.ListOrganization(s.ctx, &scalekit.ListOrganizationOptions{PageSize: 10, PageToken: "%%% not a token"})
		return refused(err, connect.CodeInvalidArgument, "INVALID_ARGUMENT", "")
	})

	s.check("[ORG-05] the rows are deleted again", func() error {
		for _, id := range made {
			if err := s.orgs.DeleteOrganization(s.ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}
