package runners

import (
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// command is a parsed and validated Command.
type command struct {
	args       []string
	env        []string // KEY=value
	workingDir string   // clean, "" for the input root
	outputs    []output
	pathsField bool // output_paths was used, not the two older fields
	format     repb.Command_OutputDirectoryFormat
	wantMtime  bool
	wantMode   bool
}

// output is a path that the client expects.
type output struct {
	asGiven string // relative to the working directory: what the result repeats
	path    string // clean, relative to the input root, "" for the root itself
	kind    outputKind
}

type outputKind int

const (
	anyOutput  outputKind = iota // of output_paths
	fileOutput                   // of output_files
	dirOutput                    // of output_directories
)

// parseCommand reads the Command with digest d. What breaks the rules is a
// *Failure with INVALID_ARGUMENT that names the field.
func parseCommand(d digest.Digest, data []byte) (*command, error) {
	var p repb.Command
	if err := proto.Unmarshal(data, &p); err != nil {
		return nil, Invalid("command %s is not a Command message", d)
	}
	c := &command{args: p.Arguments, format: p.OutputDirectoryFormat}
	if len(p.Arguments) == 0 || p.Arguments[0] == "" {
		return nil, Invalid("command.arguments: the first argument, the program, is missing")
	}
	for i, a := range p.Arguments {
		if strings.IndexByte(a, 0) >= 0 {
			return nil, Invalid("command.arguments[%d]: a zero byte in it", i)
		}
	}
	for i, v := range p.EnvironmentVariables {
		if v.GetName() == "" || strings.ContainsAny(v.GetName(), "=\x00") || strings.IndexByte(v.GetValue(), 0) >= 0 {
			return nil, Invalid("command.environment_variables[%d]: the name must not be empty nor have '=' in it, neither name nor value a zero byte", i)
		}
		c.env = append(c.env, v.Name+"="+v.Value)
	}
	var err error
	if c.workingDir, err = cleanPath("", p.WorkingDirectory); err != nil {
		return nil, Invalid("command.working_directory: %v", err)
	}
	for _, name := range p.OutputNodeProperties {
		switch name {
		case "mtime":
			c.wantMtime = true
		case "unix_mode":
			c.wantMode = true
		default:
			return nil, Invalid("command.output_node_properties: %q is not known here; mtime and unix_mode are", short(name))
		}
	}
	return c, c.addOutputs(&p)
}

// addOutputs follows REAPI 2.1: output_files and output_directories count only
// when output_paths is empty.
func (c *command) addOutputs(p *repb.Command) error {
	add := func(field string, kind outputKind, paths []string) error {
		for i, given := range paths {
			clean, err := cleanPath(c.workingDir, given)
			if err != nil {
				return Invalid("command.%s[%d]: %v", field, i, err)
			}
			if clean == "" && kind == fileOutput {
				return Invalid("command.%s[%d]: %q is the input root, not a file", field, i, given)
			}
			c.outputs = append(c.outputs, output{asGiven: given, path: clean, kind: kind})
		}
		return nil
	}
	if len(p.OutputPaths) > 0 {
		c.pathsField = true
		return add("output_paths", anyOutput, p.OutputPaths)
	}
	if err := add("output_files", fileOutput, p.OutputFiles); err != nil {
		return err
	}
	return add("output_directories", dirOutput, p.OutputDirectories)
}
