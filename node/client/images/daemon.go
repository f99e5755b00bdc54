package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// errNoDaemon means that no Docker daemon is to be found on this machine.
var errNoDaemon = errors.New("there is no local Docker daemon")

// openDaemon asks the local Docker daemon for what `docker save` would give. Only
// two calls of its API are needed, which are the same since its first versions.
func (o *opening) openDaemon(ctx context.Context, ref string) (*Image, error) {
	host, err := daemonHost()
	if err != nil {
		return nil, err
	}
	d, err := newDaemon(host)
	if err != nil {
		return nil, err
	}
	defer d.client.CloseIdleConnections()
	found, err := d.get(ctx, ref, "json")
	if err != nil {
		return nil, err
	}
	_ = found.Close()
	content, err := d.get(ctx, ref, "get")
	if err != nil {
		return nil, err
	}
	defer content.Close() //nolint:errcheck // read only
	o.Progress.begin("download", "images", 1, 0)
	file, err := o.spool.keep(ctx, &guarded{ctx: ctx, from: content, tell: o.Progress.read})
	if err != nil {
		return nil, fmt.Errorf("read %s from the Docker daemon: %w", ref, err)
	}
	// The daemon has sent one image; it may have lost its tag on the way.
	return o.openArchive(ctx, ref, file, "")
}

// daemonHost returns the address of the daemon, as DOCKER_HOST has it.
func daemonHost() (string, error) {
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		return host, nil
	}
	sockets := []string{"/var/run/docker.sock"}
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		sockets = append(sockets, filepath.Join(run, "docker.sock"), filepath.Join(run, "podman", "podman.sock"))
	}
	for _, s := range sockets {
		if info, err := os.Stat(s); err == nil && info.Mode()&os.ModeSocket != 0 {
			return "unix://" + s, nil
		}
	}
	return "", errNoDaemon
}

// daemon is a Docker daemon's HTTP interface.
type daemon struct {
	base   string
	client *http.Client
}

func newDaemon(host string) (*daemon, error) {
	scheme, address, _ := strings.Cut(host, "://")
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{}
	switch scheme {
	case "unix":
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", address)
		}
		return &daemon{"http://docker", &http.Client{Transport: transport}}, nil
	case "tcp", "http":
		if os.Getenv("DOCKER_TLS_VERIFY") == "" {
			transport.DialContext = dialer.DialContext
			return &daemon{"http://" + strings.TrimSuffix(address, "/"), &http.Client{Transport: transport}}, nil
		}
	}
	return nil, fmt.Errorf("DOCKER_HOST %s: only unix:// and tcp:// without TLS are known here; use `docker save IMAGE` and \"-\"", host)
}

// get asks for one aspect of an image.
func (d *daemon) get(ctx context.Context, ref, aspect string) (io.ReadCloser, error) {
	target := d.base + (&url.URL{Path: "/images/" + ref + "/" + aspect}).EscapedPath()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	reply, err := d.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the Docker daemon: %w", err)
	}
	if reply.StatusCode == http.StatusOK {
		return reply.Body, nil
	}
	defer reply.Body.Close() //nolint:errcheck // read only
	if reply.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%w: the local Docker daemon does not have %s", ErrNoImage, ref)
	}
	text, _ := io.ReadAll(io.LimitReader(reply.Body, 1<<10))
	return nil, fmt.Errorf("ask the Docker daemon: %s: %s", reply.Status, strings.TrimSpace(string(text)))
}
