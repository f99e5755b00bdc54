package reapi

import (
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestInstanceNames(t *testing.T) {
	strict, alias := instances{name: "a/b"}, instances{name: "a/b", empty: true}
	for name, want := range map[string][2]bool{"a/b": {true, true}, "": {false, true}, "a": {}, "a/b/": {}, "/a/b": {}, "A/B": {}} {
		for i, in := range []instances{strict, alias} {
			got, err := in.resolve(name)
			if (err == nil) != want[i] || err == nil && got != "a/b" {
				t.Errorf("%q: got %q, %v", name, got, err)
			}
			if err != nil && (status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "Invalid instance name: ["+name+"]") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

func TestOperationNames(t *testing.T) {
	strict, alias := instances{name: "a/b"}, instances{name: "a/b", empty: true}
	for name, want := range map[string][2]string{
		"a/b/1": {"a/b/1", "a/b/1"}, "1": {"", "a/b/1"}, "/1": {"", "a/b/1"}, "a/1": {}, "a/b": {}, "a/b/": {}, "": {}, "/": {},
		"a/b/" + strings.Repeat("1", 600): {},
	} {
		for i, in := range []instances{strict, alias} {
			got, err := in.operationName(name)
			if got != want[i] || (err == nil) != (want[i] != "") || err != nil && status.Code(err) != codes.InvalidArgument {
				t.Errorf("%q: got %q, %v", name, got, err)
			}
		}
	}
}

func TestInstancesThatCannotBe(t *testing.T) {
	for _, good := range []string{"", "main", "a/b", "buildgrid", "blobs2"} {
		if err := CheckInstance(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"/", "a/", "/a", "a//b", "blobs", "a/uploads", "operations/b", "compressed-blobs", strings.Repeat("x", 256)} {
		if CheckInstance(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestRequestMetadataComesUnderThreeKeys(t *testing.T) {
	want := &repb.RequestMetadata{ToolInvocationId: "build", ActionId: "//a label:of_please"}
	wire, err := proto.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"build.bazel.remote.execution.v2.requestmetadata-bin", "requestmetadata-bin",
		"google.devtools.remoteexecution.v1test.requestmetadata-bin",
	} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(key, string(wire)))
		if got := requestMetadataOf(ctx); !proto.Equal(got, want) {
			t.Errorf("%s: got %v", key, got)
		}
	}
	for name, md := range map[string]metadata.MD{
		"none":     {},
		"garbage":  metadata.Pairs(requestMetadataKey, "\xff"),
		"too much": metadata.Pairs(requestMetadataKey, "\x12\xc0\x84\x3d"+strings.Repeat("x", 1_000_000)),
	} {
		if got := requestMetadataOf(metadata.NewIncomingContext(t.Context(), md)); got != nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if requestMetadataOf(t.Context()) != nil {
		t.Error("metadata of no call")
	}
}
