package realclient

import (
	"slices"
	"testing"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

func TestReflectionNamesTheServices(t *testing.T) {
	conn := connect(t, harness.Start(t, "--slots", "0"))
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"},
	}); err != nil {
		t.Fatal(err)
	}
	reply, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, s := range reply.GetListServicesResponse().GetService() {
		have = append(have, s.GetName())
	}
	for _, want := range []string{
		repb.Capabilities_ServiceDesc.ServiceName, repb.ContentAddressableStorage_ServiceDesc.ServiceName,
		repb.ActionCache_ServiceDesc.ServiceName, repb.Execution_ServiceDesc.ServiceName,
		"google.bytestream.ByteStream", longrunningpb.Operations_ServiceDesc.ServiceName, healthpb.Health_ServiceDesc.ServiceName,
	} {
		if !slices.Contains(have, want) {
			t.Errorf("no %s among %v", want, have)
		}
	}
}

func TestHealthSaysServing(t *testing.T) {
	conn := connect(t, harness.Start(t, "--slots", "0"))
	for _, service := range []string{"", repb.Execution_ServiceDesc.ServiceName} {
		reply, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatalf("service %q: %v", service, err)
		}
		if reply.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("service %q is %v", service, reply.GetStatus())
		}
	}
}

// TestCapabilitiesAdvertiseWhatIsServed pins what clients decide by; more is
// advertised only when it is served.
func TestCapabilitiesAdvertiseWhatIsServed(t *testing.T) {
	c, err := harness.Start(t, "--slots", "0").Dial(t).Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sha256 := []repb.DigestFunction_Value{repb.DigestFunction_SHA256}
	if diff := cmp.Diff(sha256, c.GetCacheCapabilities().GetDigestFunctions()); diff != "" {
		t.Errorf("digest functions of the cache (-want +have):\n%s", diff)
	}
	if diff := cmp.Diff(sha256, c.GetExecutionCapabilities().GetDigestFunctions()); diff != "" {
		t.Errorf("digest functions of the execution (-want +have):\n%s", diff)
	}
	if !c.GetExecutionCapabilities().GetExecEnabled() || !c.GetCacheCapabilities().GetActionCacheUpdateCapabilities().GetUpdateEnabled() {
		t.Errorf("execution or updates are not enabled: %v", c)
	}
	if have := c.GetCacheCapabilities().GetSupportedCompressors(); len(have) > 0 {
		t.Errorf("compressors %v are advertised and not served", have)
	}
}

func connect(t *testing.T, n *harness.Node) *grpc.ClientConn {
	t.Helper()
	conn, err := n.Conn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
