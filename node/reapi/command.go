package reapi

import (
	"fmt"
	"path"
	"slices"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// checkCommand holds a Command against what the specification asks of it
// (REAPI, Command), as far as a server can without running it. Order of the
// lists is not enforced: it changes the digest, not the meaning, and clients in
// use do not sort.
func checkCommand(c *repb.Command) error {
	if err := checkArguments(c.GetArguments()); err != nil {
		return err
	}
	if err := checkEnvironment(c.GetEnvironmentVariables()); err != nil {
		return err
	}
	workingDir := c.GetWorkingDirectory()
	if rule := relativeRule(workingDir); rule != "" {
		return invalidField("command.working_directory", rule)
	}
	if leavesRoot("", workingDir) {
		return invalidField("command.working_directory", fmt.Sprintf("%s leaves the input root", shorten(workingDir)))
	}
	if err := checkOutputs(c, workingDir); err != nil {
		return err
	}
	for _, name := range c.GetOutputNodeProperties() {
		if !knownNodeProperty(name) {
			return invalidField("command.output_node_properties", fmt.Sprintf("%s is not known here; mtime and unix_mode are", shorten(name)))
		}
	}
	return nil
}

func checkArguments(args []string) error {
	if len(args) == 0 || args[0] == "" {
		return invalidField("command.arguments", "must begin with the program to run")
	}
	for i, arg := range args {
		if strings.IndexByte(arg, 0) >= 0 {
			return invalidField(fmt.Sprintf("command.arguments[%d]", i), "has a NUL byte in it")
		}
	}
	return nil
}

func checkEnvironment(variables []*repb.Command_EnvironmentVariable) error {
	for i, v := range variables {
		rule := ""
		switch name := v.GetName(); {
		case name == "":
			rule = "has no name"
		case strings.ContainsAny(name, "=\x00"):
			rule = fmt.Sprintf("name %s has '=' or a NUL byte in it", shorten(name))
		case strings.IndexByte(v.GetValue(), 0) >= 0:
			rule = "value has a NUL byte in it"
		}
		if rule != "" {
			return invalidField(fmt.Sprintf("command.environment_variables[%d]", i), rule)
		}
	}
	return nil
}

// checkOutputs checks output_paths, or the two older lists when it is not used
// (output_files and output_directories are ignored beside output_paths).
func checkOutputs(c *repb.Command, workingDir string) error {
	if len(c.GetOutputPaths()) > 0 {
		return checkOutputList("command.output_paths", c.GetOutputPaths(), workingDir, true)
	}
	files := c.GetOutputFiles()
	if err := checkOutputList("command.output_files", files, workingDir, false); err != nil {
		return err
	}
	if err := checkOutputList("command.output_directories", c.GetOutputDirectories(), workingDir, true); err != nil {
		return err
	}
	return checkFileConflicts(files, c.GetOutputDirectories())
}

func checkOutputList(field string, paths []string, workingDir string, mayBeRoot bool) error {
	for i, p := range paths {
		rule := relativeRule(p)
		switch {
		case rule != "":
		case p == "" && !mayBeRoot:
			rule = "is empty"
		case strings.HasSuffix(p, "/"):
			rule = fmt.Sprintf("%s ends in a slash", shorten(p))
		case leavesRoot(workingDir, p):
			rule = fmt.Sprintf("%s leaves the input root", shorten(p))
		}
		if rule != "" {
			return invalidField(fmt.Sprintf("%s[%d]", field, i), rule)
		}
	}
	return nil
}

// checkFileConflicts refuses an output file that is listed twice, is the parent
// of another, or is an output directory too.
func checkFileConflicts(files, directories []string) error {
	if len(files) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(files))
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return invalidField("command.output_files", fmt.Sprintf("%s is listed twice", shorten(sorted[i])))
		}
	}
	for _, f := range files {
		for dir := path.Dir(f); dir != "." && dir != "/" && dir != ".."; dir = path.Dir(dir) {
			if _, found := slices.BinarySearch(sorted, dir); found {
				return invalidField("command.output_files", fmt.Sprintf("%s is the parent of another output file", shorten(dir)))
			}
		}
	}
	for _, d := range directories {
		if _, found := slices.BinarySearch(sorted, d); found {
			return invalidField("command.output_directories", fmt.Sprintf("%s is an output file too", shorten(d)))
		}
	}
	return nil
}

// relativeRule returns the rule that a relative path breaks, "" for none.
func relativeRule(p string) string {
	switch {
	case strings.HasPrefix(p, "/"):
		return fmt.Sprintf("%s must be relative", shorten(p))
	case strings.IndexByte(p, 0) >= 0:
		return "has a NUL byte in it"
	}
	return ""
}

// leavesRoot tells whether p, seen from the directory base of the input root,
// steps out of the input root at any point.
func leavesRoot(base, p string) bool {
	depth := 0
	for _, list := range [2]string{base, p} {
		for segment := range strings.SplitSeq(list, "/") {
			switch segment {
			case "", ".":
			case "..":
				if depth--; depth < 0 {
					return true
				}
			default:
				depth++
			}
		}
	}
	return false
}

// knownNodeProperty tells which node properties can be asked for: the fields of
// NodeProperties (REAPI, Command.output_node_properties).
func knownNodeProperty(name string) bool {
	return name == "mtime" || name == "unix_mode"
}

// maxCommandLine bounds in bytes what is kept of a command for people.
const maxCommandLine = 1024

// commandLine joins the arguments, shortened, for people and filters.
func commandLine(args []string) string {
	var b strings.Builder
	for i, arg := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if b.Len()+len(arg) > maxCommandLine {
			b.WriteString(strings.ToValidUTF8(arg[:max(0, maxCommandLine-b.Len())], ""))
			b.WriteString("...")
			break
		}
		b.WriteString(arg)
	}
	return b.String()
}

// shorten quotes what a client sent before it goes into an error message.
func shorten(s string) string {
	const most = 120
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
