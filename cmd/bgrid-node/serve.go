package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node"
)

func newServeCmd() *cobra.Command {
	o := &optionFlags{}
	var check, printOnly bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the grid (the default command)",
		Long:  "Serve the grid. Nothing needs to be configured; see docs/configuration.md for every option.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := o.load()
			if err != nil {
				return usageError(err)
			}
			switch {
			case printOnly:
				return loaded.Print(cmd.OutOrStdout())
			case check:
				return nil
			}
			return node.Serve(cmd.Context(), loaded.Config, node.Build{Version: version().Version, Revision: version().Revision}, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&check, "check-config", false, "check the configuration and do nothing else")
	cmd.Flags().BoolVar(&printOnly, "print-config", false, "print each value of the configuration with its source and do nothing else")
	cmd.SetUsageFunc(serveUsage)
	return cmd
}

// optionFlags collects the options of node.Table that a command line gives.
type optionFlags struct {
	worker bool // those of node.WorkerTable instead
	file   string
	values map[string][]string
}

// register adds --config and a flag for each option, or only for those named.
func (o *optionFlags) register(cmd *cobra.Command, only ...string) {
	o.values = map[string][]string{}
	cmd.Flags().StringVar(&o.file, "config", "", "`FILE` in YAML with options; also BGRID_CONFIG")
	table := node.Table()
	if o.worker {
		table = node.WorkerTable()
	}
	for _, option := range table {
		if len(only) > 0 && !slices.Contains(only, option.Name) {
			continue
		}
		f := cmd.Flags().VarPF(&optionFlag{option: option, into: o.values}, option.Name, "", option.Help)
		if option.Boolean {
			f.NoOptDefVal = "true"
		}
	}
}

// load merges the flags with the environment, the file and the defaults.
func (o *optionFlags) load() (*node.Loaded, error) {
	return node.Load(node.Sources{Flags: o.values, File: o.file, Machine: node.ThisMachine(), Worker: o.worker})
}

// optionFlag is one flag of the options table.
type optionFlag struct {
	option node.Option
	into   map[string][]string
}

func (f *optionFlag) String() string { return f.option.Default }
func (f *optionFlag) Type() string   { return f.option.Arg }

// Set keeps the last value, or for a list all of them.
func (f *optionFlag) Set(value string) error {
	if !f.option.List {
		f.into[f.option.Name] = nil
	}
	f.into[f.option.Name] = append(f.into[f.option.Name], value)
	return nil
}

// serveUsage prints the flags in the groups of the options table.
func serveUsage(cmd *cobra.Command) error {
	if cmd.Flags().Lookup("check-config") == nil { // a subcommand, which inherits this function
		return new(cobra.Command).UsageFunc()(cmd)
	}
	w := cmd.OutOrStderr()
	_, _ = fmt.Fprintf(w, "Usage:\n  %s [flags]\n", cmd.CommandPath())
	if cmd.HasSubCommands() {
		_, _ = fmt.Fprintf(w, "  %s COMMAND\n\nCommands:\n", cmd.CommandPath())
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				_, _ = fmt.Fprintf(w, "  %-12s %s\n", sub.Name(), sub.Short)
			}
		}
	}
	group := ""
	for _, o := range node.Table() {
		if o.Group != group {
			group = o.Group
			_, _ = fmt.Fprintf(w, "\n%s:\n", group)
		}
		usageLine(w, "--"+o.Name+" "+o.Arg, o.Help, o.Default)
	}
	_, _ = fmt.Fprint(w, "\nConfiguration:\n")
	usageLine(w, "--config FILE", "YAML file with these options (also BGRID_CONFIG); each is an environment variable too, BGRID_LISTEN and so on", "")
	usageLine(w, "--check-config", "check the configuration and do nothing else", "")
	usageLine(w, "--print-config", "print each value with its source and do nothing else", "")
	return nil
}

func usageLine(w io.Writer, flag, help, def string) {
	if def != "" && def != "false" {
		help += " (default " + strings.ReplaceAll(def, ",", ", ") + ")"
	}
	_, _ = fmt.Fprintf(w, "  %s\n%s", strings.TrimSpace(flag), wrap(help, "        ", 92))
}

// wrap breaks text into indented lines.
func wrap(text, indent string, width int) string {
	var b strings.Builder
	line := indent
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width && line != indent {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
	return b.String()
}
