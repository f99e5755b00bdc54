package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// Limits of a start with a full store (docs/ARCHITECTURE.md, P9).
const (
	startBlobs   = 1_000_000
	startRounds  = 5
	startLimit   = 500 * time.Millisecond // the median of the rounds
	memoryLimit  = 100_000_000            // bytes of anonymous memory, each round
	blobsPerCall = 5000
)

// startLoop fills a store, and starts a node on it after SIGKILL, which is the
// harder case.
func startLoop(ctx context.Context, s *settings) error {
	n, err := harness.Launch(ctx, harness.Options{
		Binary: s.binary, Dir: filepath.Join(s.dir, "data"), Args: []string{"--cas-max-size", "8GiB", "--slots", "1"},
	})
	if err != nil {
		return err
	}
	defer func() { n.Kill() }()
	probe, err := fill(ctx, s, n)
	if err != nil {
		return fmt.Errorf("fill the store: %w\n%s", err, n.Log())
	}
	rounds := s.rounds
	if rounds == 0 {
		rounds = startRounds
	}
	var starts []time.Duration
	for range rounds {
		n.Kill()
		if n, err = n.Again(ctx); err != nil {
			return err
		}
		starts = append(starts, n.Ready)
		if err := checkStart(ctx, s, n, probe); err != nil {
			return err
		}
	}
	slices.Sort(starts)
	median := starts[len(starts)/2]
	s.say("start: with %d blobs, median %s of %v", startBlobs, median.Round(time.Millisecond), starts)
	if median > startLimit {
		return fmt.Errorf("the start took %s, at most %s is promised", median, startLimit)
	}
	return nil
}

// fill stores a million blobs of 256 bytes and returns a few of their digests.
func fill(ctx context.Context, s *settings, n *harness.Node) ([]digest.Digest, error) {
	c, err := n.Client(client.Options{Tool: "soak", Transfers: 4})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	random := s.random(2)
	var probe []digest.Digest
	began := time.Now()
	for done := 0; done < startBlobs; done += blobsPerCall {
		sources := make([]client.Source, blobsPerCall)
		for i := range sources {
			sources[i] = client.Blob(digest.SHA256, randomBytes(random, 256))
		}
		if _, err := c.Upload(ctx, sources, nil); err != nil {
			return nil, err
		}
		probe = append(probe, sources[0].Digest)
	}
	s.say("start: stored %d blobs in %s", startBlobs, time.Since(began).Round(time.Second))
	return probe, nil
}

// checkStart looks at the memory of a node that has just started, and whether
// it has what was stored.
func checkStart(ctx context.Context, s *settings, n *harness.Node, probe []digest.Digest) error {
	memory, err := n.AnonymousMemory()
	if err != nil {
		return err
	}
	s.say("start: %s to the first answer, %d MB of anonymous memory", n.Ready.Round(time.Millisecond), memory/1e6)
	if memory > memoryLimit {
		return fmt.Errorf("%d MB of anonymous memory after the start, at most %d are promised", memory/1e6, memoryLimit/1_000_000)
	}
	c, err := n.Client(client.Options{Tool: "soak"})
	if err != nil {
		return err
	}
	defer c.Close()
	missing, err := c.FindMissing(ctx, probe)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d probed blobs are missing after the start, among them %s", len(missing), len(probe), missing[0])
	}
	return nil
}
