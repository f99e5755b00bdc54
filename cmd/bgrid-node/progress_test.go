package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func TestBarLine(t *testing.T) {
	for _, c := range []struct {
		state client.ProgressState
		took  time.Duration
		want  string
	}{
		{client.ProgressState{Blobs: 1, AllBlobs: 4, Bytes: 512, AllBytes: 2048}, time.Second,
			"upload [######..................] 1/4 blobs, 512 B of 2.0 KiB, 512 B/s"},
		{client.ProgressState{AllBlobs: 1}, time.Second, "upload [........................] 0/1 blobs, 0 B of 0 B, 0 B/s"},
		{client.ProgressState{Blobs: 3, AllBlobs: 3, Bytes: 3 << 30, AllBytes: 3 << 30}, 2 * time.Second,
			"upload [########################] 3/3 blobs, 3.0 GiB of 3.0 GiB, 1.5 GiB/s"},
		{client.ProgressState{Blobs: 1, AllBlobs: 1, Bytes: 20, AllBytes: 10}, time.Second, // sent twice after a break
			"upload [########################] 1/1 blobs, 20 B of 10 B, 20 B/s"},
	} {
		if have := barLine("upload", c.state, c.took); have != c.want {
			t.Errorf("have %q\nwant %q", have, c.want)
		}
	}
}

func TestNoBarBesideATerminal(t *testing.T) {
	var out bytes.Buffer
	showProgress(&out, "upload", &client.Progress{})()
	if out.Len() > 0 {
		t.Errorf("wrote %q", out.String())
	}
}

// A failure of the remote command is never success here, whatever its number.
func TestExitCodesStayFailures(t *testing.T) {
	for remote, want := range map[int32]int{1: 1, 137: 137, 255: 255, 256: 1, -1: 255, 512: 1} {
		if have := exitCode(remote); have != want {
			t.Errorf("%d becomes %d, want %d", remote, have, want)
		}
	}
}
