package client

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Job is a command to run remotely.
type Job struct {
	Arguments  []string
	Env        map[string]string   // all that the command sees
	Platform   map[string][]string // platform properties
	WorkingDir string              // relative to the input root; "" is the root
	Outputs    []string            // files or directories, relative to WorkingDir
	Timeout    time.Duration       // 0: the server's default
	NoCache    bool                // neither look the action up nor keep its result
	SkipLookup bool                // run it anew, and keep the result
	Priority   int32               // lower runs first
}

// Prepared is a Job with its input root, as an action that can be named.
type Prepared struct {
	Job     Job
	Action  digest.Digest
	Sources []Source // all that the server must have: inputs, Command and Action
}

// Prepare encodes the job as Command and Action in canonical form: equal jobs
// give equal digests. Paths that leave the input root are errors. Nothing is sent.
func (j Job) Prepare(fn digest.Function, inputs *Tree) (*Prepared, error) {
	if len(j.Arguments) == 0 {
		return nil, fmt.Errorf("prepare action: no command")
	}
	if j.WorkingDir != "" {
		j.WorkingDir = path.Clean(j.WorkingDir)
		if leaves(j.WorkingDir) {
			return nil, fmt.Errorf("working directory %s: not within the input root", j.WorkingDir)
		}
		if j.WorkingDir == "." {
			j.WorkingDir = ""
		}
	}
	outputs := make([]string, 0, len(j.Outputs))
	for _, o := range j.Outputs {
		clean := path.Clean(o)
		if o == "" || path.IsAbs(clean) || leaves(path.Join(j.WorkingDir, clean)) {
			return nil, fmt.Errorf("output %q: not a path within the input root", o)
		}
		if clean == "." {
			clean = "" // REAPI, Command.output_paths: the working directory itself
		}
		outputs = append(outputs, clean)
	}
	slices.Sort(outputs)
	j.Outputs = slices.Compact(outputs)
	command, err := MessageSource(fn, j.command())
	if err != nil {
		return nil, err
	}
	action := &repb.Action{
		CommandDigest:   command.Digest.Proto(),
		InputRootDigest: inputs.Root.Proto(),
		DoNotCache:      j.NoCache,
		Platform:        j.platform(),
	}
	if j.Timeout > 0 {
		action.Timeout = durationpb.New(j.Timeout)
	}
	a, err := MessageSource(fn, action)
	if err != nil {
		return nil, err
	}
	sources := append(slices.Clone(inputs.Sources), command, a)
	return &Prepared{Job: j, Action: a.Digest, Sources: sources}, nil
}

// command is the REAPI Command, with its lists sorted as the API wants them. The
// platform is in it too, for servers older than REAPI 2.2.
func (j Job) command() *repb.Command {
	m := &repb.Command{
		Arguments:        j.Arguments,
		WorkingDirectory: j.WorkingDir,
		OutputPaths:      j.Outputs,
		Platform:         j.platform(),
	}
	for _, name := range slices.Sorted(maps.Keys(j.Env)) {
		m.EnvironmentVariables = append(m.EnvironmentVariables, &repb.Command_EnvironmentVariable{Name: name, Value: j.Env[name]})
	}
	return m
}

func (j Job) platform() *repb.Platform {
	m := &repb.Platform{}
	for _, name := range slices.Sorted(maps.Keys(j.Platform)) {
		values := slices.Clone(j.Platform[name])
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			m.Properties = append(m.Properties, &repb.Platform_Property{Name: name, Value: v})
		}
	}
	return m
}

// leaves tells whether a clean slash-separated path is absolute or climbs out.
func leaves(clean string) bool {
	return path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../")
}
