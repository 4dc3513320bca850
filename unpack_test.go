package main

import (
	"archive/zip"
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lazaret/internal/unpack"
)

// The program itself is the worker: it opens a file behind all its walls. It
// is no subcommand for people.
func TestUnpackWorker(t *testing.T) {
	if _, out, _ := call(t.Context(), "help"); strings.Contains(out, "unpack-worker") {
		t.Error("the help lists it")
	}
	bin := filepath.Join(t.TempDir(), "lazaret")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := unpack.NewPool(unpack.Options{Program: []string{bin, "unpack-worker"}, Dir: t.TempDir(), Warn: func(s string) { t.Error(s) }})
	defer p.Close()
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	f, err := w.Create("a.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("what is inside")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m := p.Message(unpack.Want{Text: true})
	defer m.Close()
	var seen []string
	err = m.Unpack(t.Context(), unpack.Object{Name: "x.zip"}, &z, func(part *unpack.Part) error {
		b, err := io.ReadAll(part.Body)
		seen = append(seen, part.Type+" "+part.Name+" "+string(b))
		return err
	})
	if err != nil || len(m.Report().Findings) > 0 || strings.Join(seen, "|") != "zip x.zip |text a.txt what is inside" {
		t.Errorf("%q %v %v", seen, m.Report().Findings, err)
	}
}
