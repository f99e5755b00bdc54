package hosttools

import "github.com/bgrid-node/bgrid-node/runners"

// refuseRootFS refuses an input root that is meant to be the root of a file
// system. Such an action names its files by absolute paths: run here it would
// read and write the host's. The scheduler does not send these; this is the
// second line of defence.
func refuseRootFS(t runners.Task) error {
	if mark := runners.RootFSMark(t.Dir, t.Args[0]); mark != "" {
		return runners.Unfit("the input root is a root file system (%s is in it): the runner %s would run it on the host's files; "+
			"it needs a worker with the runner bubblewrap or userchroot", mark, Name)
	}
	return nil
}
