package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// An appliance leaves a mark in its directory while it runs. One that is found
// at the start says that the last life was cut off: whatever ends a process,
// there is a line about it, if not in that life then in the next.
const (
	runningName = "running"
	crashName   = "crash" // below log: what Go says when a program dies
	maxMark     = 4 << 10 // octets that are read of either
)

// beginLife writes what is known of the end of the last life, and makes the
// mark of this one. The lock is held, the log is open.
func (a *Appliance) beginLife(*config.Config) error {
	if a.opt.Check {
		return nil
	}
	var last []string
	if mark := head(a.Path(runningName)); mark != "" {
		last = append(last, mark)
	}
	crash := a.Path("log", crashName)
	if text := head(crash); text != "" {
		if err := os.Rename(crash, crash+".old"); err != nil {
			return errs.Wrap(errs.Internal, err, "keeping what is known of the last crash")
		}
		last = append(last, cause(text), "more in "+crash+".old")
	} else if len(last) > 0 {
		last = append(last, "it was killed, or the machine stopped")
	}
	if len(last) > 0 {
		a.Log.CutOff(strings.Join(last, "; "))
	}
	mark := fmt.Sprintf("process %d, begun %s\n", os.Getpid(), a.Started.UTC().Format(time.RFC3339))
	if err := os.WriteFile(a.Path(runningName), []byte(mark), 0o600); err != nil {
		a.Log.Warning("a mark of this run cannot be made: " + err.Error()) // a full disk, say: no reason not to run
	}
	if a.opt.OnCrash == nil {
		return nil
	}
	f, err := os.OpenFile(crash, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		err = errors.Join(a.opt.OnCrash(f), f.Close())
	}
	if err != nil {
		a.Log.Warning("a crash of this run will be on stderr only: " + err.Error())
	}
	return nil
}

// head gives the beginning of a small text; "" when there is none to be had.
func head(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMark))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// cause gives the line that says why a program of Go died, else the first.
func cause(text string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return strings.TrimSpace(line)
		}
	}
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// TellEnd writes into the log why the appliance ends: what failed, or what ended
// ctx. The log is still open.
func (a *Appliance) TellEnd(ctx context.Context, failed error) {
	if a.Log == nil || a.opt.Check {
		return
	}
	switch status := 1; {
	case failed != nil:
		if a.opt.Status != nil {
			status = a.opt.Status(failed)
		}
		a.Log.Ends(failed.Error(), status)
	case ctx.Err() != nil:
		a.Log.Ends(context.Cause(ctx).Error(), 0)
	}
}

// endLife takes the mark away: what there was to say was said.
func (a *Appliance) endLife() error {
	if err := os.Remove(a.Path(runningName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errs.Wrap(errs.Internal, err, "the mark of this run")
	}
	return nil
}
