package main

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// calledAs returns the command line for the name that the binary was called by.
// Links with the names of BuildGrid's tools make it understand what these do, so
// that scripts written for them go on.
func calledAs(name string) *cobra.Command {
	switch filepath.Base(name) {
	case "casupload":
		return standalone(newCasuploadCmd())
	case "chrootbuilder":
		return standalone(newChrootbuilderCmd())
	}
	return newRoot()
}

// standalone makes a command the root.
func standalone(cmd *cobra.Command) *cobra.Command {
	cmd.SilenceErrors = true
	cmd.SilenceUsage = true
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetFlagErrorFunc(flagError)
	usageArgs(cmd)
	return cmd
}

// reccServer returns the server that recc's variables name, and its instance. recc
// without an instance means the empty one; here the variables of this program come
// first, so that a default node needs none.
func reccServer(server string, instance *string) (*remote, error) {
	address := cmp.Or(server, os.Getenv("RECC_CAS_SERVER"), os.Getenv("RECC_SERVER"))
	r := &remote{server: cmp.Or(os.Getenv("BGRID_SERVER"), defaultServer), instance: reccInstance(instance)}
	if address == "" {
		return r, nil
	}
	var err error
	r.server, r.dial, err = reccAddress(address)
	return r, err
}

func reccInstance(flag *string) string {
	if flag != nil {
		return *flag
	}
	for _, name := range []string{"RECC_CAS_INSTANCE", "RECC_INSTANCE", "BGRID_INSTANCE"} {
		if value, set := os.LookupEnv(name); set {
			return value
		}
	}
	return defaultInstance
}

// reccAddress turns a URL such as recc has them into the address and options of a
// connection.
func reccAddress(address string) (string, []grpc.DialOption, error) {
	if !strings.Contains(address, "://") {
		return address, nil, nil
	}
	u, err := url.Parse(address)
	if err == nil && u.Scheme == "unix" && u.Host == "" {
		return "unix://" + u.Path, nil, nil
	}
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return "", nil, usageError(fmt.Errorf("server %q: want http://HOST:PORT", address))
	}
	host, port := u.Host, ""
	var options []grpc.DialOption
	switch u.Scheme {
	case "http", "grpc":
		port = "80"
	case "https", "grpcs":
		port = "443"
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})))
	default:
		return "", nil, usageError(fmt.Errorf("server %q: want http://HOST:PORT; %s: is not known", address, u.Scheme))
	}
	if u.Port() == "" {
		host += ":" + port
	}
	return host, options, nil
}

// newChrootbuilderCmd is `chrootbuilder -e IMAGE DIR`.
func newChrootbuilderCmd() *cobra.Command {
	f := &imageFlags{}
	var image string
	cmd := &cobra.Command{
		Use:   "chrootbuilder -e IMAGE DIR",
		Short: "Lay an image's file system out in a directory",
		Long:  "Lay an image's file system out in DIR, as `bgrid-node chroot build IMAGE DIR` does.\n\n" + imageHelp,
		Args:  exactArgs(1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if image == "" {
				return usageError(fmt.Errorf("chrootbuilder wants -e IMAGE: see chrootbuilder --help"))
			}
			return f.build(cmd, image, args[0])
		},
	}
	cmd.Flags().StringVarP(&image, "extract", "e", "", "`IMAGE` to lay out")
	f.register(cmd)
	return cmd
}
