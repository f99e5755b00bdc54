package node

import (
	"fmt"
	"net"
	"strings"
)

// clients are the build tools that ClientLines knows.
var clients = [...]struct {
	name  string
	where string // the lines go
	lines func(server, instance string) string
}{
	{"bazel", ".bazelrc", bazelLines},
	{"recc", "the environment", reccLines},
	{"buildstream", "~/.config/buildstream.conf", buildStreamLines},
}

// Clients returns the names that ClientLines takes.
func Clients() []string {
	var names []string
	for _, c := range clients {
		names = append(names, c.name)
	}
	return names
}

// ClientLines returns the configuration lines that connect a client to a node
// that listens on the address, ready to paste.
func ClientLines(client, listen, instance string) (string, error) {
	for _, c := range clients {
		if c.name == client {
			return c.lines(dialable(listen), instance), nil
		}
	}
	return "", fmt.Errorf("no lines for client %q: want one of %s", client, strings.Join(Clients(), ", "))
}

// dialable puts this machine's loopback address in place of "every address".
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func bazelLines(server, instance string) string {
	return fmt.Sprintf(`build --remote_executor=grpc://%s
build --remote_instance_name=%s
build --spawn_strategy=remote
build --jobs=64
`, server, instance)
}

func reccLines(server, instance string) string {
	return fmt.Sprintf(`export RECC_SERVER=http://%s
export RECC_INSTANCE=%s
export RECC_REMOTE_PLATFORM_OSFamily=linux
export RECC_REMOTE_PLATFORM_ISA=%s
`, server, instance, localMachine().ISA)
}

func buildStreamLines(server, instance string) string {
	return fmt.Sprintf(`remote-execution:
  execution-service:
    url: http://%[1]s
    instance-name: %[2]s
  storage-service:
    url: http://%[1]s
    instance-name: %[2]s
  action-cache-service:
    url: http://%[1]s
    instance-name: %[2]s
`, server, instance)
}
