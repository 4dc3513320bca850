package fault

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// Each fault of the matrix with its short share of trials, against the built
// program. LAZARET_FAULT_TRIALS=n runs n trials of each.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of kills")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "lazaret")
	build := exec.Command("go", "build", "-o", binary, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, s := range Scenarios() {
		if s.Short == 0 {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			n := s.Short
			if more, err := strconv.Atoi(os.Getenv("LAZARET_FAULT_TRIALS")); err == nil {
				n = more
			}
			r, err := s.Run(context.Background(), Config{Binary: binary, Dir: filepath.Join(dir, s.Name)}, n)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := r.Write(&b); err != nil {
				t.Error(err)
			}
			t.Log(b.String())
			if r.Violations() > 0 {
				t.Errorf("%d violations", r.Violations())
			}
		})
	}
}
