package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"connectrpc.com/connect"
	"github.com/scalekit-inc/scalekit-sdk-go/v2"
)

// mailedCode reads the newest mail to an address.
func mailedCode(email string) (string, error) {
	response, err := http.Get(os.Getenv("NARTHEX_DEV_URL") + "/dev/mail?to=" + url.QueryEscape(email))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var mails []struct {
		Otp string `json:"otp"`
	}
	if err := json.NewDecoder(response.Body).Decode(&mails); err != nil {
		return "", err
	}
	if len(mails) == 0 {
		return "", fmt.Errorf("no mail to %s", email)
	}
	return mails[0].Otp, nil
}

func (s *session) passwordless() {
	api := s.sdk.Passwordless()
	email := "gil-" + strings.ToLower(random()[:8]) + "x@example.com"
	options := &scalekit.SendPasswordlessOptions{MagiclinkAuthUri: "http://localhost:3999/magic", State: "s-1", ExpiresIn: 600}
	var request, code string

	s.check("[PWL-01 PWL-04 PWL-05] a mail is sent; its code verifies once and gives back address and state", func() error {
		sent, err := api.SendPasswordlessEmail(s.ctx, email, options)
		if err != nil {
			return err
		}
		if code, err = mailedCode(email); err != nil {
			return err
		}
		request = sent.AuthRequestId
		verified, err := api.VerifyPasswordlessEmail(s.ctx, &scalekit.VerifyPasswordlessOptions{Code: code, AuthRequestId: request})
		if err != nil {
			return err
		}
		return first(equal("lifetime", sent.ExpiresIn, 600), equal("email", verified.Email, email), equal("state", verified.GetState(), "s-1"))
	})

	s.check("a mail is sent again for the same request, with a code that verifies", func() error {
		again := address()
		asked := must(api.SendPasswordlessEmail(s.ctx, again, options)).AuthRequestId
		resent := must(api.ResendPasswordlessEmail(s.ctx, asked))
		verified := must(api.VerifyPasswordlessEmail(s.ctx, &scalekit.VerifyPasswordlessOptions{Code: must(mailedCode(again)), AuthRequestId: asked}))
		return first(equal("request", resent.AuthRequestId, asked), equal("email", verified.Email, again))
	})

	s.check("[PWL-13 PWL-06] a code that was used already, a wrong one, an unknown link and an unknown request are refused", func() error {
		for _, options := range []*scalekit.VerifyPasswordlessOptions{
			{Code: code, AuthRequestId: request},
			{Code: "00000x", AuthRequestId: request},
			{LinkToken: "invented_l"},
		} {
			_, err := api.VerifyPasswordlessEmail(s.ctx, options)
			if err := refused(err, connect.CodeInvalidArgument, "INVALID_ARGUMENT", ""); err != nil {
				return fmt.Errorf("%+v: %w", options, err)
			}
		}
		_, verified := api.VerifyPasswordlessEmail(s.ctx, &scalekit.VerifyPasswordlessOptions{Code: code, AuthRequestId: "invented"})
		_, resent := api.ResendPasswordlessEmail(s.ctx, "invented")
		return first(refused(verified, connect.CodeNotFound, "NOT_FOUND", ""), refused(resent, connect.CodeNotFound, "NOT_FOUND", ""))
	})
}
