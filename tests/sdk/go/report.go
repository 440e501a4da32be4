package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"connectrpc.com/connect"
	"github.com/scalekit-inc/scalekit-sdk-go/v2/pkg/grpc/scalekit/v1/errdetails"
)

// report prints one line per check, as tests/sdk/run counts them.
type report struct {
	ring   string
	failed bool
}

// check runs the block; an error or a panic is a failed check and the ring goes on.
func (r *report) check(name string, block func() error) {
	err := func() (err error) {
		defer func() {
			if caught := recover(); caught != nil {
				err = fmt.Errorf("panic: %v", caught)
			}
		}()
		return block()
	}()
	if err == nil {
		fmt.Printf("PASS %s: %s\n", r.ring, name)
		return
	}
	r.failed = true
	fmt.Printf("FAIL %s: %s: %.600s\n", r.ring, name, strings.Join(strings.Fields(err.Error()), " "))
}

// end exits; the runner also wants this line, so that a ring that dies half-way is not taken for a good one.
func (r *report) end() {
	fmt.Printf("END %s\n", r.ring)
	if r.failed {
		os.Exit(1)
	}
}

// first returns the first error of several checks made in one place.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func equal[T comparable](what string, found, wanted T) error {
	if found != wanted {
		return fmt.Errorf("%s is %v, expected %v", what, found, wanted)
	}
	return nil
}

// same compares what has no ==, such as lists and maps.
func same(what string, found, wanted any) error {
	if !reflect.DeepEqual(found, wanted) {
		return fmt.Errorf("%s is %v, expected %v", what, found, wanted)
	}
	return nil
}

// must gives a call's answer; if it has none, the check in which the call is made fails with the call's error.
func must[T any](answer T, err error) T {
	if err != nil {
		panic(err)
	}
	return answer
}

// failure gives a call's error alone.
func failure[T any](_ T, err error) error { return err }

func holds(condition bool, format string, values ...any) error {
	if !condition {
		return fmt.Errorf(format, values...)
	}
	return nil
}

// details gives the first ErrorInfo of a *connect.Error.
func details(err error) *errdetails.ErrorInfo {
	var refusal *connect.Error
	if errors.As(err, &refusal) {
		for _, detail := range refusal.Details() {
			if value, valueErr := detail.Value(); valueErr == nil {
				if info, ok := value.(*errdetails.ErrorInfo); ok {
					return info
				}
			}
		}
	}
	return nil
}

// refused wants a *connect.Error with this code, this error_code in its first detail and this text in its message.
func refused(err error, code connect.Code, errorCode, says string) error {
	var refusal *connect.Error
	if !errors.As(err, &refusal) {
		return fmt.Errorf("expected *connect.Error %s, found %T: %v", code, err, err)
	}
	info := details(err)
	if info == nil {
		return fmt.Errorf("%s without ErrorInfo: %v", refusal.Code(), err)
	}
	return first(
		equal("code", refusal.Code(), code),
		equal("error_code", info.ErrorCode, errorCode),
		holds(strings.Contains(strings.ToLower(refusal.Message()), says), "message %q does not contain %q", refusal.Message(), says),
	)
}

// all wants each of these errors to be a refusal with this code.
func all(code connect.Code, errorCode, says string, errs []error) error {
	for index, err := range errs {
		if err := refused(err, code, errorCode, says); err != nil {
			return fmt.Errorf("call %d: %w", index+1, err)
		}
	}
	return nil
}

func notFound(errs ...error) error { return all(connect.CodeNotFound, "NOT_FOUND", "", errs) }

func invalid(says string, errs ...error) error {
	return all(connect.CodeInvalidArgument, "INVALID_ARGUMENT", says, errs)
}

// stands wants refusals by a state that does not allow the call.
func stands(says string, errs ...error) error {
	return all(connect.CodeFailedPrecondition, "FAILED_PRECONDITION", says, errs)
}
