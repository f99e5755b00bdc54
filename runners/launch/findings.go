package launch

import "github.com/bgrid-node/bgrid-node/runners"

// Sandbox is what a sandboxed runner found out about its machine.
type Sandbox struct {
	FreshProc     bool
	SharedNetwork bool  // a shim's empty network serves all its commands
	Overlay       error // why there are none; nil: there are
}

// Findings words it.
func (s Sandbox) Findings() []runners.Finding {
	var list []runners.Finding
	if s.FreshProc {
		list = append(list, runners.Good("each action has a /proc of its own"))
	} else {
		list = append(list, runners.Lacking("the kernel refuses a fresh /proc: actions see the host's, read-only, and with it the names of its processes",
			"usual in containers; run the container with an unmasked /proc (docker: --security-opt systempaths=unconfined; Kubernetes: procMount: Unmasked)"))
	}
	if s.SharedNetwork {
		list = append(list, runners.Good("no network: the empty one of each slot costs nothing per action"))
	} else {
		list = append(list, runners.Lacking("no network: made anew for each action, some milliseconds each",
			"let this program make user namespaces itself (Ubuntu: an AppArmor profile for it, or kernel.apparmor_restrict_unprivileged_userns=0)"))
	}
	if s.Overlay == nil {
		return append(list, runners.Good("chroots and root file systems are shared by overlay mounts"))
	}
	return append(list, runners.Lacking("no overlay mounts ("+s.Overlay.Error()+"): each action gets a copy of its chroot or root file system, some seconds per GB",
		"put --work-dir on ext4, xfs, btrfs or tmpfs, not on an overlay such as a container's own files; without root Linux 5.11 is needed"))
}
