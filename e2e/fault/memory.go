package fault

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memory gives the gateway mails of 45 MiB, four at once, beside ordinary ones,
// in a control group of 512 MiB (I9 of the reliability plan) and in one of 256.
// The kernel kills what goes beyond its group.
func memory(ctx context.Context, c Config, trials int) (*Result, error) {
	w, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	defer w.Kill()
	r := &Result{Name: "F21", Trials: trials}
	small := w.Begin(&Load{Sessions: 20, Pause: 200 * time.Millisecond})
	for i := range trials {
		limit := []int{512, 256}[i%2]
		if err := w.confine(ctx, r, limit); err != nil {
			return nil, err
		}
		w.Injected(fmt.Sprintf("mails of 45 MiB in %d MiB", limit))
		big := w.Begin(&Load{Sessions: 4, Size: 45 << 20, Pause: time.Second})
		worst, all := 0, 0
		for range 150 {
			rest(ctx, 100*time.Millisecond)
			worst, all = max(worst, w.Gateway.uses("RssAnon")), max(all, w.Gateway.uses("VmRSS"))
		}
		big.End()
		if !w.Gateway.Running() {
			r.fail("in %d MiB the gateway ended: %s %s", limit, w.Gateway.cmd.ProcessState, w.Gateway.stderr)
		}
		r.note("in a group of %d MiB: %d MiB at most of its own, %d MiB with the pages of its file; %d mails of 45 MiB taken, %d refused", limit, worst>>10, all>>10, big.Acked.Load(), big.Refused.Load())
		if worst > limit<<10 {
			r.fail("%d MiB are more than %d", worst>>10, limit)
		}
		if big.Acked.Load() == 0 {
			r.fail("in %d MiB no large mail was taken: the trial proves little", limit)
		}
	}
	small.End()
	w.Gateway.Wrap, w.Gateway.Env = nil, nil
	r.Report, err = w.Finish(ctx, 5*time.Minute)
	return r, err
}

// uses gives a figure of the kernel about the process, in KB; 0 when there is none.
func (p *Process) uses(field string) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	_, rest, _ := strings.Cut(string(b), "\n"+field+":")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(line), " kB"))
	return n
}

// confine starts the gateway anew in a control group of so many MiB; where none
// can be made it is told the limit, and what it uses is measured only.
func (w *World) confine(ctx context.Context, r *Result, limit int) error {
	if err := w.Gateway.Stop(); err != nil {
		return err
	}
	w.Gateway.Wrap, w.Gateway.Env = nil, nil
	dir, err := memoryGroup(fmt.Sprintf("%s-%d-%d", filepath.Base(w.Dir), os.Getpid(), len(w.groups)), int64(limit)<<20)
	if err != nil {
		r.note("no control group of memory here (%v): GOMEMLIMIT in its place", err)
		w.Gateway.Env = []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", limit*7/10)}
		return w.Heal(ctx)
	}
	w.groups = append(w.groups, dir)
	w.Gateway.Wrap = []string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, dir}
	return w.Heal(ctx)
}

// memoryGroup makes a group of version 1 below that of this process.
func memoryGroup(name string, limit int64) (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 || part[1] != "memory" {
			continue
		}
		dir := filepath.Join("/sys/fs/cgroup/memory", part[2], "lazaret-"+name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
		return dir, os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte(strconv.FormatInt(limit, 10)), 0o600)
	}
	return "", fmt.Errorf("no group of version 1")
}
