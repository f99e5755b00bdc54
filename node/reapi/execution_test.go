package reapi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

func requestFor(d digest.Digest) *repb.ExecuteRequest {
	return &repb.ExecuteRequest{InstanceName: "main", ActionDigest: d.Proto()}
}

func metadataIn(t *testing.T, op *longrunningpb.Operation) *repb.ExecuteOperationMetadata {
	t.Helper()
	m := new(repb.ExecuteOperationMetadata)
	if err := op.GetMetadata().UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func responseIn(t *testing.T, op *longrunningpb.Operation) *repb.ExecuteResponse {
	t.Helper()
	r := new(repb.ExecuteResponse)
	if err := op.GetResponse().UnmarshalTo(r); err != nil {
		t.Fatal(err)
	}
	return r
}

// violations returns the subjects of the MISSING violations of an error.
func violations(err error) (subjects []string) {
	for _, detail := range status.Convert(err).Details() {
		if f, ok := detail.(*errdetails.PreconditionFailure); ok {
			for _, v := range f.GetViolations() {
				subjects = append(subjects, v.GetType()+" "+v.GetSubject())
			}
		}
	}
	return subjects
}

func TestExecuteStreamsEachChange(t *testing.T) {
	s := newExecServer(t)
	d := s.upload(t, nil, nil, nil)
	at := time.Unix(1700000000, 0)
	job := &queue.Job{Action: d, Stage: queue.Queued, QueuedAt: at}
	running := *job
	running.Stage, running.StartedAt = queue.Executing, at.Add(time.Second)
	s.states <- &sched.State{Name: "main/op", Stage: queue.Queued, Job: job, WaitReason: "all slots are busy"}
	s.states <- &sched.State{Name: "main/op", Stage: queue.Executing, Job: &running, Worker: "bot"}
	s.finish()
	ops, err := s.execute(t.Context(), requestFor(d))
	if err != nil || len(ops) != 3 {
		t.Fatalf("%d messages, %v", len(ops), err)
	}
	first := metadataIn(t, ops[0])
	if ops[0].GetDone() || ops[0].GetName() != "main/op" || first.GetStage() != repb.ExecutionStage_QUEUED ||
		first.GetPartialExecutionMetadata().GetQueuedTimestamp().GetSeconds() != at.Unix() {
		t.Errorf("first message: %v", ops[0])
	}
	if diff := cmp.Diff(d.Proto(), first.GetActionDigest(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	reason := new(structpb.Struct)
	if err := first.GetPartialExecutionMetadata().GetAuxiliaryMetadata()[0].UnmarshalTo(reason); err != nil {
		t.Fatal(err)
	}
	if got := reason.GetFields()[WaitReasonKey].GetStringValue(); got != "all slots are busy" {
		t.Errorf("wait reason %q", got)
	}
	second := metadataIn(t, ops[1])
	if second.GetStage() != repb.ExecutionStage_EXECUTING || second.GetPartialExecutionMetadata().GetWorker() != "bot" ||
		second.GetPartialExecutionMetadata().GetWorkerStartTimestamp().GetSeconds() != at.Unix()+1 ||
		len(second.GetPartialExecutionMetadata().GetAuxiliaryMetadata()) != 0 {
		t.Errorf("second message: %v", second)
	}
	if last := ops[2]; !last.GetDone() || last.GetError() != nil || metadataIn(t, last).GetStage() != repb.ExecutionStage_COMPLETED ||
		responseIn(t, last).GetResult() == nil {
		t.Errorf("last message: %v", last)
	}
	want := []string{"join", "submit"}
	if diff := cmp.Diff(want, s.scheduler.made()); diff != "" {
		t.Error(diff)
	}
}

func TestANewOperationIsQueuedFirst(t *testing.T) {
	for _, state := range []*sched.State{
		{Name: "main/op", Stage: queue.Executing, Worker: "bot", Job: &queue.Job{Stage: queue.Executing, BotID: "bot"}},
		{Name: "main/op", Stage: queue.Completed, Done: true, Worker: "bot", Response: &repb.ExecuteResponse{}},
	} {
		s := newExecServer(t)
		s.states <- state
		if !state.Done {
			s.finish()
		}
		ops, err := s.execute(t.Context(), requestFor(s.upload(t, nil, nil, nil)))
		if err != nil || len(ops) < 2 {
			t.Fatalf("%d messages, %v; want QUEUED before %v", len(ops), err, state.Stage)
		}
		first := metadataIn(t, ops[0])
		if ops[0].GetDone() || first.GetStage() != repb.ExecutionStage_QUEUED || first.GetPartialExecutionMetadata().GetWorker() != "" {
			t.Errorf("the first message is %v", ops[0])
		}
		if second := metadataIn(t, ops[1]); second.GetStage() != repb.ExecutionStage_Value(state.Stage) {
			t.Errorf("the second message has stage %v, want %v", second.GetStage(), state.Stage)
		}
	}
}

func TestExecuteSubmitsWhatTheActionSays(t *testing.T) {
	s := newExecServer(t)
	action := &repb.Action{Timeout: durationpb.New(time.Minute), Platform: platformOf("OSFamily", "linux", "network", "on")}
	d := s.upload(t, action, &repb.Command{Arguments: []string{"cc", "a.c"}}, nil)
	s.finish()
	req := requestFor(d)
	req.ExecutionPolicy = &repb.ExecutionPolicy{Priority: -7}
	if _, err := s.execute(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	want := sched.Submission{
		Instance: "main", Action: d, Command: "cc a.c", Priority: -7, Timeout: time.Minute, Client: "bufconn",
		Matched: []queue.Property{{Name: "OSFamily", Value: "linux"}, {Name: "runner", Value: "hosttools"}},
		Carried: []queue.Property{{Name: "network", Value: "on"}},
	}
	got := s.scheduler.submitted[0]
	got.RequestMetadata = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExecuteAnswersFromTheCache(t *testing.T) {
	s := newExecServer(t)
	d := s.upload(t, nil, nil, nil)
	out := s.blobs.put([]byte("written"))
	s.results.results[d] = &repb.ActionResult{ExitCode: 0, StdoutDigest: out.Proto(),
		OutputFiles: []*repb.OutputFile{{Path: "a", Digest: out.Proto()}, {Path: "b", Digest: out.Proto()}}}
	for range 2 { // the second answer comes from the memo
		ops, err := s.execute(t.Context(), requestFor(d))
		if err != nil || len(ops) != 1 {
			t.Fatalf("%d messages, %v", len(ops), err)
		}
		response := responseIn(t, ops[0])
		if !ops[0].GetDone() || !response.GetCachedResult() || metadataIn(t, ops[0]).GetStage() != repb.ExecutionStage_COMPLETED {
			t.Errorf("got %v", ops[0])
		}
		if diff := cmp.Diff(s.results.results[d], response.GetResult(), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff([]string{"join", "finished", "join", "finished"}, s.scheduler.made()); diff != "" {
		t.Error(diff)
	}
	req := requestFor(d)
	req.InlineStdout, req.InlineOutputFiles = true, []string{"b"}
	ops, err := s.execute(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	result := responseIn(t, ops[0]).GetResult()
	if string(result.GetStdoutRaw()) != "written" || len(result.GetOutputFiles()[0].GetContents()) != 0 ||
		string(result.GetOutputFiles()[1].GetContents()) != "written" || !responseIn(t, ops[0]).GetCachedResult() {
		t.Errorf("inlined: %v", result)
	}
	if s.results.results[d].StdoutRaw != nil {
		t.Error("the shared result was changed")
	}
}

func TestExecuteOrder(t *testing.T) {
	for name, c := range map[string]struct {
		action   *repb.Action
		skip     bool
		inFlight bool
		failed   error // of the action cache
		want     []string
	}{
		"in flight goes before the cache":        {inFlight: true, want: []string{"join"}},
		"skip_cache_lookup may join":             {inFlight: true, skip: true, want: []string{"join"}},
		"skip_cache_lookup executes":             {skip: true, want: []string{"join", "submit"}},
		"do_not_cache neither joins nor looks":   {action: &repb.Action{DoNotCache: true}, inFlight: true, want: []string{"submit"}},
		"a broken cache does not stop execution": {failed: errors.New("disk"), want: []string{"join", "submit"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newExecServer(t)
			d := s.upload(t, c.action, nil, nil)
			s.results.results[d], s.results.failed = &repb.ActionResult{}, c.failed
			if c.inFlight {
				s.scheduler.inFlight = "main/op"
			}
			s.finish()
			req := requestFor(d)
			req.SkipCacheLookup = c.skip
			if _, err := s.execute(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, s.scheduler.made()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExecuteNamesEveryMissingBlob(t *testing.T) {
	s := newExecServer(t)
	lost := []digest.Digest{digest.Of(digest.SHA256, []byte("1")), digest.Of(digest.SHA256, []byte("2"))}
	root := &repb.Directory{Files: []*repb.FileNode{{Name: "a", Digest: lost[0].Proto()}, {Name: "b", Digest: lost[1].Proto()}}}
	command := &repb.Command{Arguments: []string{"missing"}}
	d := s.upload(t, nil, command, root)
	commandDigest := s.blobs.message(t, command)
	subject := func(d digest.Digest) string { return "MISSING blobs/" + d.String() }

	check := func(t *testing.T, want ...string) {
		t.Helper()
		_, err := s.execute(t.Context(), requestFor(d))
		if status.Code(err) != codes.FailedPrecondition {
			t.Fatalf("got %v", err)
		}
		if diff := cmp.Diff(want, violations(err)); diff != "" {
			t.Error(diff)
		}
	}
	t.Run("inputs", func(t *testing.T) { check(t, subject(lost[0]), subject(lost[1])) })
	t.Run("the command of a remembered action", func(t *testing.T) {
		s.blobs.forget(commandDigest)
		check(t, subject(commandDigest), subject(lost[0]), subject(lost[1]))
	})
	t.Run("the action", func(t *testing.T) {
		s.blobs.forget(d)
		d = digest.Of(digest.SHA256, []byte("never uploaded"))
		check(t, subject(d))
	})
	if made := s.scheduler.submitted; len(made) != 0 {
		t.Errorf("submitted %v", made)
	}
}

func TestExecuteRefusesMalformedActions(t *testing.T) {
	s := newExecServer(t)
	garbage := s.blobs.put([]byte("\xff\xff garbage"))
	bad := &repb.Digest{Hash: "abc", SizeBytes: 3}
	for name, c := range map[string]struct {
		digest  digest.Digest
		message string
	}{
		"garbage as action":     {garbage, "action_digest"},
		"garbage as command":    {s.upload(t, &repb.Action{CommandDigest: garbage.Proto()}, nil, nil), "action.command_digest"},
		"garbage as input root": {s.upload(t, &repb.Action{InputRootDigest: garbage.Proto()}, nil, nil), "action.input_root_digest"},
		"no digests":            {s.blobs.message(t, &repb.Action{DoNotCache: true}), "action.command_digest"},
		"a bad command digest":  {s.upload(t, &repb.Action{CommandDigest: bad}, nil, nil), "action.command_digest"},
		"a bad root digest":     {s.upload(t, &repb.Action{InputRootDigest: bad}, nil, nil), "action.input_root_digest"},
		"an empty command":      {s.upload(t, nil, &repb.Command{}, nil), "command.arguments"},
		"the empty action":      {digest.SHA256.Empty(), "action.command_digest"},
		"a huge action":         {digest.Digest{Function: digest.SHA256, Size: 1 << 40, Hash: garbage.Hash}, "action_digest"},
		"a negative timeout":    {s.upload(t, &repb.Action{Timeout: &durationpb.Duration{Seconds: -1}}, nil, nil), "action.timeout"},
		"a garbage timeout":     {s.upload(t, &repb.Action{Timeout: &durationpb.Duration{Seconds: 1, Nanos: -5}}, nil, nil), "action.timeout"},
		"a timeout too large": {s.upload(t, &repb.Action{Timeout: durationpb.New(2*time.Hour + 1)}, nil, nil),
			"Action timeout is larger than the server's maximum execution timeout."},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.execute(t.Context(), requestFor(c.digest))
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.message) {
				t.Errorf("got %v, want INVALID_ARGUMENT with %q", err, c.message)
			}
		})
	}
}

func TestExecuteRefusesMalformedRequests(t *testing.T) {
	s := newExecServer(t)
	d := s.upload(t, nil, nil, nil)
	for name, c := range map[string]struct {
		req     *repb.ExecuteRequest
		message string
	}{
		"nothing":            {&repb.ExecuteRequest{}, "Invalid instance name: []"},
		"another instance":   {&repb.ExecuteRequest{InstanceName: "nope", ActionDigest: d.Proto()}, "Invalid instance name: [nope]"},
		"no digest":          {&repb.ExecuteRequest{InstanceName: "main"}, "action_digest"},
		"a short hash":       {&repb.ExecuteRequest{InstanceName: "main", ActionDigest: &repb.Digest{Hash: "00", SizeBytes: 2}}, "action_digest"},
		"a digest function":  {&repb.ExecuteRequest{InstanceName: "main", ActionDigest: d.Proto(), DigestFunction: repb.DigestFunction_MD5}, "digest_function"},
		"a function unknown": {&repb.ExecuteRequest{InstanceName: "main", ActionDigest: d.Proto(), DigestFunction: 99}, "digest_function"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.execute(t.Context(), c.req)
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.message) {
				t.Errorf("got %v, want INVALID_ARGUMENT with %q", err, c.message)
			}
		})
	}
}

func TestRootFileSystemNeverGoesToHosttools(t *testing.T) {
	s := newExecServer(t)
	sh := s.blobs.put([]byte("#!"))
	bin := s.blobs.message(t, &repb.Directory{Files: []*repb.FileNode{{Name: "sh", Digest: sh.Proto()}}})
	root := &repb.Directory{Directories: []*repb.DirectoryNode{{Name: "bin", Digest: bin.Proto()}}}
	d := s.upload(t, nil, nil, root)
	_, err := s.execute(t.Context(), requestFor(d))
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "bubblewrap") {
		t.Fatalf("got %v", err)
	}
	explicit := s.upload(t, &repb.Action{Platform: platformOf("runner", "hosttools")}, nil, root)
	if _, err := s.execute(t.Context(), requestFor(explicit)); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("asked for hosttools: %v", err)
	}
	s.scheduler.offers["runner=bubblewrap"] = true
	s.finish()
	if _, err := s.execute(t.Context(), requestFor(d)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]queue.Property{{Name: "runner", Value: "bubblewrap"}}, s.scheduler.submitted[0].Matched); diff != "" {
		t.Error(diff)
	}
}

func TestStreamsEndWithUnavailableWhenTheServerStops(t *testing.T) {
	s := newExecServer(t)
	stream, err := s.execution.WaitExecution(t.Context(), &repb.WaitExecutionRequest{Name: "main/op"})
	if err != nil {
		t.Fatal(err)
	}
	s.states <- &sched.State{Name: "main/op", Stage: queue.Queued}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if op, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, %v", op, err)
	}
}

func TestDrainingIsUnavailable(t *testing.T) {
	s := newExecServer(t)
	s.scheduler.failed = sched.ErrDraining
	_, err := s.execute(t.Context(), requestFor(s.upload(t, nil, nil, nil)))
	if status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v", err)
	}
	for _, detail := range status.Convert(err).Details() {
		if _, ok := detail.(*errdetails.RetryInfo); ok {
			return
		}
	}
	t.Errorf("no RetryInfo in %v", err)
}

func TestADisconnectCancelsNothing(t *testing.T) {
	s := newExecServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := s.execution.Execute(ctx, requestFor(s.upload(t, nil, nil, nil)))
	if err != nil {
		t.Fatal(err)
	}
	s.states <- &sched.State{Name: "main/op", Stage: queue.Queued}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for closed := 0; closed == 0; time.Sleep(time.Millisecond) {
		s.scheduler.mu.Lock()
		closed = s.scheduler.closed
		s.scheduler.mu.Unlock()
	}
	if diff := cmp.Diff([]string{"join", "submit"}, s.scheduler.made()); diff != "" {
		t.Error(diff)
	}
}

func TestWaitExecution(t *testing.T) {
	s := newExecServer(t)
	wait := func(name string) ([]*longrunningpb.Operation, error) {
		stream, err := s.execution.WaitExecution(t.Context(), &repb.WaitExecutionRequest{Name: name})
		if err != nil {
			return nil, err
		}
		return drain(stream)
	}
	s.finish()
	if ops, err := wait("main/op"); err != nil || len(ops) != 1 || !ops[0].GetDone() {
		t.Errorf("got %v, %v", ops, err)
	}
	for name, code := range map[string]codes.Code{
		"main/unknown": codes.NotFound, "op": codes.InvalidArgument, "": codes.InvalidArgument, "nope/op": codes.InvalidArgument,
	} {
		if _, err := wait(name); status.Code(err) != code {
			t.Errorf("%q: got %v, want %v", name, err, code)
		}
	}
}

func TestStoreFailuresAreNotBlamedOnTheClient(t *testing.T) {
	s := newExecServer(t)
	d := s.upload(t, nil, nil, nil)
	s.blobs.failed = errors.New("disk")
	_, err := s.execute(t.Context(), requestFor(d))
	switch status.Code(err) {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound, codes.OK:
		t.Errorf("got %v", err)
	}
}
