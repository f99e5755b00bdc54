package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// While a cluster changes its leader even the first call may be answered with
// UNAVAILABLE: that is an answer.
func TestACallIsRepeatedWhileTheServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{caps: capsWith(0), fault: func(_ string, n int) error {
			if n <= 4 {
				return errAway
			}
			return nil
		}}
		c := serve(t, f, Options{})
		if _, err := c.UploadBlob(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{caps: capsWith(0), fault: refuse("FindMissing", codes.Unavailable)}
		c := serve(t, f, Options{Patience: time.Minute})
		start := time.Now()
		_, err := c.UploadBlob(t.Context(), []byte("x"))
		wantCode(t, err, codes.Unavailable)
		if took := time.Since(start); took < 50*time.Second || took > time.Minute {
			t.Errorf("gave up after %s, want just before a minute", took)
		}
		if n := f.count("FindMissingBlobs"); n < 10 || n > 40 {
			t.Errorf("%d attempts in a minute", n)
		}
	})
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	f := &fake{caps: capsWith(0), fault: refuse("FindMissing", codes.PermissionDenied)}
	c := serve(t, f, Options{})
	_, err := c.UploadBlob(t.Context(), []byte("x"))
	wantCode(t, err, codes.PermissionDenied)
	if n := f.count("FindMissingBlobs"); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

func TestNobodyAtTheAddressIsSaidAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	c, err := Dial(address, "main", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	d := digest.Of(digest.SHA256, []byte("x"))
	for name, call := range map[string]func(context.Context) error{
		"capabilities": func(ctx context.Context) error { _, err := c.Capabilities(ctx); return err },
		"read":         func(ctx context.Context) error { _, err := c.FetchBytes(ctx, d, 10); return err },
		"tree":         func(ctx context.Context) error { _, err := c.GetTree(ctx, d); return err },
		"execute":      func(ctx context.Context) error { _, err := c.Execute(ctx, Execution{Action: d}, nil); return err },
		"operation":    func(ctx context.Context) error { _, err := c.Operation(ctx, "main/x"); return err },
	} {
		err := call(t.Context())
		if !errors.Is(err, ErrUnreachable) || err.Error() != "no server answers at "+address+": connection refused" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnUnknownInstanceIsNamed(t *testing.T) {
	c := serve(t, &fake{caps: capsWith(0)}, Options{})
	c.instance = "nope"
	_, err := c.Capabilities(t.Context())
	if !errors.Is(err, ErrInstance) || !strings.Contains(err.Error(), `"nope"`) {
		t.Errorf("have %v", err)
	}
}

func TestAServerOfOtherDigestsIsRefused(t *testing.T) {
	caps := capsWith(0)
	caps.CacheCapabilities.DigestFunctions = []repb.DigestFunction_Value{repb.DigestFunction_BLAKE3}
	c := serve(t, &fake{caps: caps}, Options{})
	if _, err := c.UploadBlob(t.Context(), []byte("x")); err == nil || !strings.Contains(err.Error(), "does not take SHA256 digests; it takes [BLAKE3]") {
		t.Errorf("have %v", err)
	}
}

func TestErrorsAreOneLineWithTheDetails(t *testing.T) {
	violations := &errdetails.PreconditionFailure{}
	for range 7 {
		violations.Violations = append(violations.Violations, &errdetails.PreconditionFailure_Violation{Type: "MISSING", Subject: "blobs/ab/1"})
	}
	st, err := status.New(codes.FailedPrecondition, "inputs\nare missing").WithDetails(violations)
	if err != nil {
		t.Fatal(err)
	}
	want := "FailedPrecondition: inputs are missing" + strings.Repeat("; missing blobs/ab/1", 5) + "; and 2 more"
	if have := Describe(st); have != want {
		t.Errorf("have %q, want %q", have, want)
	}
	c := &Client{}
	once := c.explain("upload a", st.Err())
	if twice := c.explain("upload blobs", once); twice.Error() != "upload a: "+want {
		t.Errorf("explained twice: %v", twice)
	}
}
