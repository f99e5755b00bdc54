package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node"
)

// execute runs one command line, beginning with the name that the binary was called
// by, and returns the exit code of the process. Data goes to stdout, everything else
// to stderr.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := calledAs(args[0])
	root.SetArgs(args[1:])
	root.SetOut(stdout)
	root.SetErr(stderr)
	return report(stderr, root.ExecuteContext(ctx))
}

// newRoot returns the whole command line. Without a subcommand it serves.
func newRoot() *cobra.Command {
	root := newServeCmd()
	root.Use = "bgrid-node"
	root.Short = "A remote-execution grid in one binary"
	root.Long = "A remote-execution grid in one binary: scheduler, storage, action cache and workers.\n\nWithout a command it serves, as `bgrid-node serve` does."
	root.Version = version().String() // --version is what people try first
	root.SetVersionTemplate("{{.Version}}\n")
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	for _, newCmd := range subcommands() {
		root.AddCommand(newCmd())
	}
	usageArgs(root)
	return root
}

// subcommands lists the constructors of all subcommands, one file each.
func subcommands() []func() *cobra.Command {
	return []func() *cobra.Command{
		newServeCmd,
		newRunCmd,
		newWorkerCmd,
		newClusterCmd,
		newDrainNodeCmd,
		newCasCmd,
		newChrootCmd,
		newOperationCmd,
		newWhyCmd,
		newLogsCmd,
		newEnvCmd,
		newDoctorCmd,
		newFsckCmd,
		newVersionCmd,
		newCompletionCmd,
	}
}

// flagError names the nearest flag when there is none of that name.
func flagError(cmd *cobra.Command, err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !unknown {
		return usageError(err)
	}
	usage := cmd.Flags().FlagUsages() // names every flag as --name
	var known []string
	for _, word := range strings.Fields(usage) {
		if flag, ok := strings.CutPrefix(word, "--"); ok {
			known = append(known, "--"+flag)
		}
	}
	return usageError(fmt.Errorf("%w%s", err, node.DidYouMean("--"+name, known)))
}

// usageArgs makes wrong arguments of cmd and its subcommands usage errors.
// Commands that take no arguments need not say so.
func usageArgs(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		check = noArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError(err)
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		usageArgs(sub)
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return fmt.Errorf("%s takes no arguments, have %q", cmd.CommandPath(), args[0])
	}
	var known []string
	for _, sub := range cmd.Commands() {
		known = append(known, sub.Name())
	}
	if near := node.DidYouMean(args[0], known); near != "" {
		return fmt.Errorf("no command %q%s", args[0], near)
	}
	return fmt.Errorf("no command %q: see %s --help", args[0], cmd.CommandPath())
}
