package reapi

import (
	"context"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// maxInlined bounds in bytes what is inlined into one ActionResult. It leaves
// room for the rest of a message of 4 MiB.
const maxInlined = 1 << 20

// hints are a client's wishes for inlined content (REAPI, ExecuteRequest and
// GetActionResultRequest).
type hints struct {
	stdout, stderr bool
	files          []string
}

func (h hints) any() bool { return h.stdout || h.stderr || len(h.files) > 0 }

func (h hints) fileSet() map[string]bool {
	if len(h.files) == 0 {
		return nil
	}
	set := make(map[string]bool, len(h.files))
	for _, path := range h.files {
		set[path] = true
	}
	return set
}

func hintsOf(req interface {
	GetInlineStdout() bool
	GetInlineStderr() bool
	GetInlineOutputFiles() []string
}) hints {
	return hints{stdout: req.GetInlineStdout(), stderr: req.GetInlineStderr(), files: req.GetInlineOutputFiles()}
}

// inliner puts small blobs into results.
type inliner struct{ blobs blobs }

// state returns s with the wished content in its response, as far as it fits.
// s itself is not changed.
func (in inliner) state(ctx context.Context, s *sched.State, h hints) *sched.State {
	result := s.Response.GetResult()
	if result == nil || s.Job == nil {
		return s
	}
	filled := in.result(ctx, s.Job.Action.Function, result, h)
	if filled == result {
		return s
	}
	changed := *s
	changed.Response = proto.Clone(&repb.ExecuteResponse{
		CachedResult: s.Response.GetCachedResult(),
		Status:       s.Response.GetStatus(),
		ServerLogs:   s.Response.GetServerLogs(),
		Message:      s.Response.GetMessage(),
	}).(*repb.ExecuteResponse)
	changed.Response.Result = filled
	return &changed
}

// result returns r with the wished content inlined, in the order stdout, stderr,
// files, as far as it fits and is present: these are hints. When nothing is to
// be added it returns r itself; r is never changed.
func (in inliner) result(ctx context.Context, fn digest.Function, r *repb.ActionResult, h hints) *repb.ActionResult {
	f := filling{in: in, fn: fn, left: maxInlined - len(r.GetStdoutRaw()) - len(r.GetStderrRaw())}
	out := r
	own := func() {
		if out == r {
			out = proto.Clone(r).(*repb.ActionResult)
		}
	}
	if h.stdout && len(r.GetStdoutRaw()) == 0 {
		if data := f.read(ctx, r.GetStdoutDigest()); data != nil {
			own()
			out.StdoutRaw = data
		}
	}
	if h.stderr && len(r.GetStderrRaw()) == 0 {
		if data := f.read(ctx, r.GetStderrDigest()); data != nil {
			own()
			out.StderrRaw = data
		}
	}
	wanted := h.fileSet()
	for i, file := range r.GetOutputFiles() {
		if len(wanted) == 0 || len(file.GetContents()) > 0 || !wanted[file.GetPath()] {
			continue
		}
		if data := f.read(ctx, file.GetDigest()); data != nil {
			own()
			out.OutputFiles[i].Contents = data
		}
	}
	return out
}

// filling is one result's budget.
type filling struct {
	in   inliner
	fn   digest.Function
	left int
}

// read returns a blob that fits into the budget, nil when it does not, is empty
// or is not there.
func (f *filling) read(ctx context.Context, p *repb.Digest) []byte {
	if p.GetSizeBytes() <= 0 || p.GetSizeBytes() > int64(f.left) {
		return nil
	}
	d, err := digest.FromProto(f.fn, p)
	if err != nil {
		return nil
	}
	data, err := f.in.blobs.Get(ctx, d)
	if err != nil {
		return nil
	}
	f.left -= len(data)
	return data
}
