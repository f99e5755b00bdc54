package reapi

import (
	"context"
	"math"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/bazelbuild/remote-apis/build/bazel/semver"
)

// capabilities serves build.bazel.remote.execution.v2.Capabilities. It says only
// what is served: DESIGN.md has the reason of each value.
type capabilities struct {
	repb.UnimplementedCapabilitiesServer
	instances instances
	answer    *repb.ServerCapabilities // shared, never changed
}

// newCapabilities describes a server that takes blobs of at most so many bytes.
func newCapabilities(i instances, maxBlob int64) *capabilities {
	functions := []repb.DigestFunction_Value{repb.DigestFunction_SHA256}
	return &capabilities{instances: i, answer: &repb.ServerCapabilities{
		CacheCapabilities: &repb.CacheCapabilities{
			DigestFunctions:               functions,
			ActionCacheUpdateCapabilities: &repb.ActionCacheUpdateCapabilities{UpdateEnabled: true},
			MaxBatchTotalSizeBytes:        maxBatch,
			MaxCasBlobSizeBytes:           maxBlob,
			// Workers make every symlink as the client has it, and report it as the
			// action made it.
			SymlinkAbsolutePathStrategy: repb.SymlinkAbsolutePathStrategy_ALLOWED,
		},
		ExecutionCapabilities: &repb.ExecutionCapabilities{
			DigestFunction:  repb.DigestFunction_SHA256,
			DigestFunctions: functions,
			ExecEnabled:     true,
			ExecutionPriorityCapabilities: &repb.PriorityCapabilities{
				Priorities: []*repb.PriorityCapabilities_PriorityRange{{MinPriority: math.MinInt32, MaxPriority: math.MaxInt32}},
			},
			SupportedNodeProperties: []string{"mtime", "unix_mode"},
		},
		LowApiVersion:  &semver.SemVer{Major: 2},
		HighApiVersion: &semver.SemVer{Major: 2, Minor: 13},
	}}
}

// GetCapabilities answers with what is served (REAPI, Capabilities).
func (c *capabilities) GetCapabilities(_ context.Context, req *repb.GetCapabilitiesRequest) (*repb.ServerCapabilities, error) {
	if _, err := c.instances.resolve(req.GetInstanceName()); err != nil {
		return nil, err
	}
	return c.answer, nil
}
