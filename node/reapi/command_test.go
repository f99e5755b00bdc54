package reapi

import (
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"
)

func commandWith(change func(c *repb.Command)) *repb.Command {
	c := &repb.Command{Arguments: []string{"cc", "-c", "a.c"}}
	change(c)
	return c
}

func TestCommandsThatAreRefused(t *testing.T) {
	env := func(name, value string) []*repb.Command_EnvironmentVariable {
		return []*repb.Command_EnvironmentVariable{{Name: "OK", Value: "1"}, {Name: name, Value: value}}
	}
	for name, c := range map[string]struct {
		field  string
		change func(c *repb.Command)
	}{
		"no arguments":                  {"command.arguments", func(c *repb.Command) { c.Arguments = nil }},
		"an empty program":              {"command.arguments", func(c *repb.Command) { c.Arguments = []string{""} }},
		"a NUL in an argument":          {"command.arguments[1]", func(c *repb.Command) { c.Arguments = []string{"a", "b\x00"} }},
		"a variable without a name":     {"command.environment_variables[1]", func(c *repb.Command) { c.EnvironmentVariables = env("", "") }},
		"a variable with =":             {"command.environment_variables[1]", func(c *repb.Command) { c.EnvironmentVariables = env("A=B", "") }},
		"a NUL in a value":              {"command.environment_variables[1]", func(c *repb.Command) { c.EnvironmentVariables = env("A", "\x00") }},
		"an absolute working directory": {"command.working_directory", func(c *repb.Command) { c.WorkingDirectory = "/tmp" }},
		"a working directory outside":   {"command.working_directory", func(c *repb.Command) { c.WorkingDirectory = "a/../.." }},
		"outside and in again":          {"command.working_directory", func(c *repb.Command) { c.WorkingDirectory = "../a" }},
		"an absolute output":            {"command.output_paths[0]", func(c *repb.Command) { c.OutputPaths = []string{"/out"} }},
		"an output outside":             {"command.output_paths[1]", func(c *repb.Command) { c.OutputPaths = []string{"a", "../out"} }},
		"outside despite the directory": {"command.output_paths[0]", func(c *repb.Command) { c.WorkingDirectory, c.OutputPaths = "a", []string{"../../out"} }},
		"a trailing slash":              {"command.output_paths[0]", func(c *repb.Command) { c.OutputPaths = []string{"out/"} }},
		"an empty output file":          {"command.output_files[0]", func(c *repb.Command) { c.OutputFiles = []string{""} }},
		"an output directory outside":   {"command.output_directories[0]", func(c *repb.Command) { c.OutputDirectories = []string{".."} }},
		"an output file twice":          {"command.output_files", func(c *repb.Command) { c.OutputFiles = []string{"a", "b", "a"} }},
		"an output file below another":  {"command.output_files", func(c *repb.Command) { c.OutputFiles = []string{"a/b/c", "a"} }},
		"a file and a directory":        {"command.output_directories", func(c *repb.Command) { c.OutputFiles, c.OutputDirectories = []string{"a"}, []string{"a"} }},
		"an unknown node property":      {"command.output_node_properties", func(c *repb.Command) { c.OutputNodeProperties = []string{"mtime", "colour"} }},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkCommand(commandWith(c.change))
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.field) {
				t.Errorf("got %v, want INVALID_ARGUMENT that names %s", err, c.field)
			}
		})
	}
	if err := checkCommand(nil); status.Code(err) != codes.InvalidArgument {
		t.Errorf("nil: %v", err)
	}
}

func TestCommandsThatAreTaken(t *testing.T) {
	for name, change := range map[string]func(c *repb.Command){
		"plain": func(*repb.Command) {},
		"BuildStream: the root and .. within it": func(c *repb.Command) {
			c.WorkingDirectory, c.OutputPaths = "buildstream/build", []string{"../..", "../../tmp", "."}
		},
		"the empty output path is the directory": func(c *repb.Command) { c.OutputPaths = []string{""} },
		"the empty output directory":             func(c *repb.Command) { c.OutputDirectories = []string{""} },
		"old lists are ignored beside output_paths": func(c *repb.Command) {
			c.OutputPaths, c.OutputFiles = []string{"a"}, []string{"/ignored"}
		},
		"unsorted": func(c *repb.Command) { c.OutputPaths = []string{"b", "a"} },
		"an output directory above another": func(c *repb.Command) {
			c.OutputDirectories = []string{"a", "a/b"}
		},
		"node properties": func(c *repb.Command) { c.OutputNodeProperties = []string{"mtime", "unix_mode"} },
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkCommand(commandWith(change)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A path stays inside exactly when no prefix of it resolves above the root.
func TestLeavesRootAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		segments := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "..", ".", "", "b"}), 0, 8).Draw(t, "segments")
		base := rapid.SampledFrom([]string{"", "x", "x/y"}).Draw(t, "base")
		var at []string
		for s := range strings.SplitSeq(base, "/") {
			if s != "" {
				at = append(at, s)
			}
		}
		outside := false
		for _, s := range segments {
			switch {
			case s == ".." && len(at) == 0:
				outside = true
			case s == "..":
				at = at[:len(at)-1]
			case s != "" && s != ".":
				at = append(at, s)
			}
		}
		if got := leavesRoot(base, strings.Join(segments, "/")); got != outside {
			t.Fatalf("leavesRoot(%q, %q) = %t", base, strings.Join(segments, "/"), got)
		}
	})
}

func TestCommandLineIsBounded(t *testing.T) {
	if got := commandLine([]string{"cc", "-c", "a.c"}); got != "cc -c a.c" {
		t.Errorf("got %q", got)
	}
	long := commandLine([]string{"cc", strings.Repeat("ä", 5000), "x"})
	if len(long) > maxCommandLine+len("...") || !strings.HasSuffix(long, "...") || strings.ToValidUTF8(long, "?") != long {
		t.Errorf("%d bytes: %q", len(long), long[len(long)-10:])
	}
}
