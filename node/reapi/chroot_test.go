package reapi

import (
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func TestAChrootMustBeInTheStore(t *testing.T) {
	s := newExecServer(t)
	absent := digest.Of(digest.SHA256, []byte("not uploaded"))
	garbage := s.blobs.put([]byte("\xff\xff no Directory"))
	for name, c := range map[string]struct{ value, runner, subject, message string }{
		"missing":                  {absent.String(), "", absent.String(), "missing"},
		"no digest":                {"trixie", "", "trixie", "want HASH/SIZE"},
		"a size that is no number": {absent.Hex() + "/x", "", absent.Hex() + "/x", "want HASH/SIZE"},
		"no Directory":             {garbage.String(), "userchroot", garbage.String(), "Directory"},
		"not given":                {"", "userchroot", "", "needs the platform property chrootRootDigest"},
	} {
		t.Run(name, func(t *testing.T) {
			var properties []string
			if c.value != "" {
				properties = append(properties, "chrootRootDigest", c.value)
			}
			if c.runner != "" {
				properties = append(properties, "runner", c.runner)
			}
			d := s.upload(t, &repb.Action{Platform: platformOf(properties...)}, nil, nil)
			_, err := s.execute(t.Context(), requestFor(d))
			if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), c.message) {
				t.Fatalf("got %v, want FAILED_PRECONDITION with %q", err, c.message)
			}
			if c.subject == "" {
				return
			}
			for _, detail := range status.Convert(err).Details() {
				if f, ok := detail.(*errdetails.PreconditionFailure); ok {
					if v := f.Violations[0]; v.Type == "MISSING" && v.Subject == "blobs/"+c.subject {
						return
					}
				}
			}
			t.Errorf("no MISSING violation for %s in %v", c.subject, status.Convert(err).Details())
		})
	}
}

func TestAChrootIsNotLookedAtForOtherRunners(t *testing.T) {
	s := newExecServer(t)
	s.finish()
	d := s.upload(t, &repb.Action{Platform: platformOf("chrootRootDigest", "trixie", "runner", "hosttools")}, nil, nil)
	if _, err := s.execute(t.Context(), requestFor(d)); err != nil {
		t.Error(err)
	}
}
