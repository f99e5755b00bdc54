package runners_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bgrid-node/bgrid-node/runners"
)

func TestActionReadsItsInputAndItsOutputIsStored(t *testing.T) {
	b := start(t, nil)
	root := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("in", "hello\n")}})
	r := b.result(sh("cat in; echo oops >&2; tr a-z A-Z <in >out; exit 3", "out"), root)
	if len(r.OutputFiles) != 1 || b.text(r.OutputFiles[0].Digest) != "HELLO\n" || r.OutputFiles[0].IsExecutable {
		t.Errorf("output files: %v", r.OutputFiles)
	}
	if b.text(r.StdoutDigest) != "hello\n" || b.text(r.StderrDigest) != "oops\n" || r.ExitCode != 3 {
		t.Errorf("stdout %q, stderr %q, exit code %d", b.text(r.StdoutDigest), b.text(r.StderrDigest), r.ExitCode)
	}
}

func TestLargeStreamsAreStored(t *testing.T) {
	b := start(t, nil)
	for range 2 { // the second time in a place that was used
		r := b.result(sh("head -c 3000000 /dev/zero; head -c 70000 /dev/zero >&2"), noInputs)
		if n, m := len(b.text(r.StdoutDigest)), len(b.text(r.StderrDigest)); n != 3000000 || m != 70000 {
			t.Errorf("%d and %d bytes", n, m)
		}
	}
}

func TestATimeoutKeepsWhatThereIs(t *testing.T) {
	b := start(t, nil)
	l := b.lease(sh("echo partial; echo half >out; sleep 1000", "out", "never"), noInputs)
	l.Timeout = 1500 * time.Millisecond
	c := b.run(l)
	if code.Code(c.Status.GetCode()) != code.Code_DEADLINE_EXCEEDED || !strings.Contains(c.Status.Message, "1.5s") {
		t.Fatalf("status: %v", c.Status)
	}
	if c.Result.ExitCode != 137 || b.text(c.Result.StdoutDigest) != "partial\n" || len(c.Result.OutputFiles) != 1 || b.text(c.Result.OutputFiles[0].Digest) != "half\n" {
		t.Errorf("result: %v", c.Result)
	}
}

func TestMetadataTellsWhoAndWhenAndHowMuch(t *testing.T) {
	b := start(t, nil)
	root := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("in", "x")}})
	l := b.lease(sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"), root)
	m := b.run(l).Result.ExecutionMetadata
	if m.Worker != "worker-1" || !m.QueuedTimestamp.AsTime().Equal(l.Queued) {
		t.Errorf("worker %q, queued %v", m.Worker, m.QueuedTimestamp)
	}
	last := timestamppb.New(l.Queued)
	for i, ts := range []*timestamppb.Timestamp{
		m.QueuedTimestamp, m.WorkerStartTimestamp, m.InputFetchStartTimestamp, m.InputFetchCompletedTimestamp,
		m.ExecutionStartTimestamp, m.ExecutionCompletedTimestamp, m.OutputUploadStartTimestamp,
		m.OutputUploadCompletedTimestamp, m.WorkerCompletedTimestamp,
	} {
		if ts == nil || ts.AsTime().Before(last.AsTime()) {
			t.Errorf("timestamp %d, %v, is before the one before it, %v", i, ts, last)
			continue
		}
		last = ts
	}
	if m.VirtualExecutionDuration.AsDuration() != m.ExecutionCompletedTimestamp.AsTime().Sub(m.ExecutionStartTimestamp.AsTime()) {
		t.Errorf("virtual duration %v", m.VirtualExecutionDuration)
	}
	var usage structpb.Struct
	if len(m.AuxiliaryMetadata) != 1 || m.AuxiliaryMetadata[0].UnmarshalTo(&usage) != nil {
		t.Fatalf("auxiliary metadata: %v", m.AuxiliaryMetadata)
	}
	f := usage.Fields
	if f["kind"].GetStringValue() != "bgrid.resource_usage" || f["user_seconds"].GetNumberValue()+f["system_seconds"].GetNumberValue() <= 0 ||
		f["max_rss_bytes"].GetNumberValue() < 100<<10 || f["minor_faults"].GetNumberValue() <= 0 {
		t.Errorf("usage: %v", &usage)
	}
}

func TestOutputsBeyondTheLimitAreRefused(t *testing.T) {
	b := start(t, func(o *runners.WorkerOptions) { o.MaxOutputBytes = 1000 })
	for _, script := range []string{"head -c 2000 /dev/zero >out", "head -c 600 /dev/zero >out; head -c 600 /dev/zero", "head -c 2000000 /dev/zero >&2"} {
		if c := b.run(b.lease(sh(script, "out"), noInputs)); code.Code(c.Status.GetCode()) != code.Code_RESOURCE_EXHAUSTED {
			t.Errorf("%s: %v", script, c)
		}
	}
	b.result(sh("head -c 500 /dev/zero >out; head -c 400 /dev/zero", "out"), noInputs)
}

// TestWhatAnActionDoesToItsStreamsHurtsNobody moves, links and replaces the files
// that the next command's stdout goes to.
func TestWhatAnActionDoesToItsStreamsHurtsNobody(t *testing.T) {
	b := start(t, func(o *runners.WorkerOptions) { o.Slots = 1 })
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, trick := range []string{
		"rm $f; ln -s " + victim + " $f", "rm $f; mkfifo $f", "rm $f", "chmod 000 $f", "rm $f; ln " + victim + " $f",
		"rm $f; mkdir $f", "ln $f link", "mv $f $f.moved", "rm $f; echo faked >$f",
	} {
		r := b.result(sh("echo true words; for f in ../../output/*; do "+trick+"; done"), noInputs)
		if got := b.text(r.StdoutDigest); got != "true words\n" {
			t.Errorf("%s: its stdout is %q", trick, got)
		}
		if got := b.text(b.result(sh("echo next"), noInputs).StdoutDigest); got != "next\n" {
			t.Errorf("after %s: stdout is %q", trick, got)
		}
	}
	if got, err := os.ReadFile(victim); string(got) != "precious" {
		t.Errorf("a file that stdout was linked to is now %q, %v", got, err)
	}
}

func TestOptionsThatMakeNoSenseAreNamed(t *testing.T) {
	good := runners.WorkerOptions{
		Leases: newSession(), Blobs: newMemory(), Runners: []runners.Runner{&fakeRunner{name: "a"}}, Dir: t.TempDir(), Slots: 1,
	}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*runners.WorkerOptions){
		"Leases":       func(o *runners.WorkerOptions) { o.Leases = nil },
		"Blobs":        func(o *runners.WorkerOptions) { o.Blobs = nil },
		"Runners":      func(o *runners.WorkerOptions) { o.Runners = nil },
		"Dir":          func(o *runners.WorkerOptions) { o.Dir = "" },
		"Slots":        func(o *runners.WorkerOptions) { o.Slots = 0 },
		"CacheBytes":   func(o *runners.WorkerOptions) { o.CacheBytes = -1 },
		"two runners":  func(o *runners.WorkerOptions) { o.Runners = append(o.Runners, o.Runners[0]) },
		"MaxOutputByt": func(o *runners.WorkerOptions) { o.MaxOutputBytes = -1 },
	} {
		o := good
		spoil(&o)
		if _, err := runners.NewWorker(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
