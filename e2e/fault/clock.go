package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stepping builds the program with a clock whose wall time can be stepped, while
// its monotonic time goes on, which is what settimeofday does. Not a line of the
// product differs: Go's own time.Now is replaced, by the overlay of the go
// command. Stepping the machine's clock would step everybody's.
func stepping(ctx context.Context, dir string) (binary string, err error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	where := strings.Fields(string(root))
	if len(where) != 2 {
		return "", fmt.Errorf("go env says %q", root)
	}
	std := filepath.Join(where[0], "src", "time", "time.go")
	b, err := os.ReadFile(std)
	if err != nil {
		return "", err
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	text := string(b)
	if strings.Count(text, now) != 1 {
		return "", errors.New("time.Now of this Go looks otherwise: the overlay does not fit")
	}
	text = strings.Replace(text, now, now+"\tsec += FaultStep.Load()\n", 1)
	text += "\n// FaultStep is how many seconds the wall clock is ahead.\nvar FaultStep atomic.Int64\n"
	text = strings.Replace(text, "import (\n", "import (\n\t\"sync/atomic\"\n", 1)
	files := map[string]string{std: text, filepath.Join(filepath.Dir(where[1]), "clock_of_the_fault.go"): stepper}
	replace := map[string]string{}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for at, text := range files {
		name := filepath.Join(dir, "overlay-"+filepath.Base(at))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[at] = name
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "lazaret-clock")
	build := exec.CommandContext(ctx, "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, filepath.Dir(where[1]))
	build.Dir = filepath.Dir(where[1])
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build with a clock: %w\n%s", err, out)
	}
	return binary, nil
}

// stepper is the file beside main.go that reads the step, and says that it did.
const stepper = `package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

func init() {
	name := os.Getenv("LAZARET_FAULT_CLOCK")
	if name == "" {
		return
	}
	look := func() {
		b, err := os.ReadFile(name)
		if err != nil {
			return
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err != nil || n == time.FaultStep.Load() {
			return
		}
		time.FaultStep.Store(n)
		_ = os.WriteFile(name+".taken", b, 0o600)
	}
	look()
	go func() {
		for {
			time.Sleep(10 * time.Millisecond)
			look()
		}
	}()
}
`

// clockFile is where a process reads how far its clock is from the true one.
func (p *Process) clockFile() string { return filepath.Join(p.Dir, "..", p.Role+".clock") }

// SetClock puts the wall clock of a process d from the true one and waits until
// it is so. A process that does not run has it at its next start.
func (p *Process) SetClock(ctx context.Context, d time.Duration) error {
	name := p.clockFile()
	want := strconv.FormatInt(int64(d/time.Second), 10)
	if err := os.WriteFile(name+".new", []byte(want), 0o600); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	for end := time.Now().Add(readyWithin); p.Running(); rest(ctx, 5*time.Millisecond) {
		if b, err := os.ReadFile(name + ".taken"); err == nil && string(b) == want {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("%s does not take the clock of %s", p.Host, d)
		}
	}
	return ctx.Err()
}

// clocked lets both processes of a world read their clocks.
func (w *World) clocked(ctx context.Context) error {
	for _, p := range []*Process{w.Gateway, w.Manager} {
		p.Env = append(p.Env, "LAZARET_FAULT_CLOCK="+p.clockFile())
		if err := p.SetClock(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}
