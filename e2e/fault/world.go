// Package fault does to running appliances what the fault matrix of the
// reliability plan lists, under load, and lets package history judge what was
// seen: real processes of the product, clients and foreign servers of ours,
// operators who release and delete by the command language.
//
// It uses loopback only, ends only processes that it started, and looks at the
// product from outside.
package fault

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lazaret/e2e/history"
)

// World is one gateway, one manager, and what is around them.
type World struct {
	Dir              string
	Gateway, Manager *Process
	SMTP             string           // where the gateway takes mail
	CPQ              string           // where the manager takes mail
	Sinks            map[string]*Sink // by domain
	H                *history.Writer
	Link             *Proxy // from the gateway to the manager
	Back             *Proxy // from the manager to the gateway: releases; nil: none

	relay  *relay
	loads  int
	groups []string // control groups, to be removed in the end
	events string   // the file behind H
	start  []time.Duration
}

// Config says how a world differs from the ordinary one.
type Config struct {
	Binary  string
	Dir     string
	Back    bool     // there is a link in the direction of releases
	Clock   bool     // the clocks of both appliances can be set; Binary is made by stepping
	Domains []string // each has a sink of its own; nil: a.example, b.example
	// Edit changes the gateway's configuration file before its first start.
	Edit func(w *World, xml string) string
}

type place struct{ Name, SMTP, CPQ, SSH, Dir string }

// New makes a world and starts it.
func New(ctx context.Context, c Config) (*World, error) {
	l, err := setUp(ctx, c)
	if err != nil {
		return nil, err
	}
	gw := l.Gateways[0]
	w := &World{
		Dir: c.Dir, SMTP: gw.SMTP, CPQ: l.Manager.CPQ, Sinks: map[string]*Sink{}, events: filepath.Join(c.Dir, "history.jsonl"),
		Gateway: &Process{Role: "gateway", Host: gw.Name + ".lazaret.example", Dir: gw.Dir, binary: c.Binary},
		Manager: &Process{Role: "manager", Host: l.Manager.Name + ".lazaret.example", Dir: l.Manager.Dir, binary: c.Binary},
	}
	if w.H, err = history.Create(w.events); err != nil {
		return nil, err
	}
	domains := c.Domains
	if domains == nil {
		domains = []string{"a.example", "b.example"}
	}
	for _, d := range append([]string{"client.example"}, domains...) {
		if w.Sinks[d], err = NewSink(w.H, d); err != nil {
			return nil, err
		}
	}
	if w.Link, err = NewProxy(w.CPQ); err != nil {
		return nil, err
	}
	if err := w.configure(c.Edit); err != nil {
		return nil, err
	}
	if c.Back {
		if err := w.relayed(gw); err != nil {
			return nil, err
		}
	}
	if c.Clock {
		if err := w.clocked(ctx); err != nil {
			return nil, err
		}
	}
	if err := w.Heal(ctx); err != nil {
		w.Kill()
		return nil, err
	}
	return w, nil
}

type layout struct {
	Manager  place
	Gateways []place
}

// setUp lets the demonstration make paired appliances, once for a directory,
// and ends it.
func setUp(ctx context.Context, c Config) (l layout, err error) {
	for range 5 { // another program may take a port in between
		base := 10000 + rand.IntN(2000)*10 // below those that the system gives away by itself
		if l, err = demonstrate(ctx, c, "--port-base", strconv.Itoa(base)); err == nil || ctx.Err() != nil {
			break
		}
	}
	return l, err
}

func demonstrate(ctx context.Context, c Config, args ...string) (l layout, err error) {
	cmd := exec.CommandContext(ctx, c.Binary, append([]string{"demo", "--dir", c.Dir, "--json"}, args...)...)
	cmd.Stderr = io.Discard
	out, err := cmd.StdoutPipe()
	if err != nil {
		return l, err
	}
	if err := cmd.Start(); err != nil {
		return l, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(line), &l)
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	werr := cmd.Wait()
	if err = errors.Join(err, werr); err == nil && len(l.Gateways) == 0 {
		err = errors.New("the demonstration names no gateway")
	}
	return l, err
}

const filters = `
hold_me: if (subject == "^HOLDME") { quarantine("Policy"); }
copy_me: if (subject == "^COPYME") { duplicate-quarantine("Policy"); }
note_it: if (subject == "^NOBODY") { log-entry("nobody"); }
drop_me: if (subject == "^DROPME") { drop(); }
`

// configure writes the gateway's routes, filters, and times that fit a test.
func (w *World) configure(edit func(*World, string) string) error {
	name := filepath.Join(w.Gateway.Dir, "config.xml")
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	xml := regexp.MustCompile(`(?s)<!--.*?-->`).ReplaceAllString(string(b), "") // they speak of elements
	var routes strings.Builder
	for d, s := range w.Sinks {
		host, port, _ := strings.Cut(s.Addr, ":")
		fmt.Fprintf(&routes, "<smtproute><domain>%s</domain><host>[%s]:%s</host></smtproute>\n", d, host, port)
	}
	for _, c := range []struct{ element, text string }{
		{"smtproutes", routes.String()},
		{"message_filters", strings.ReplaceAll(filters, `"`, "&quot;")},
		{"rat", "<rat_entry><rat_address>ALL</rat_address><access>ACCEPT</access></rat_entry>"},
		{"first_retry", "1"},
		{"longest_interval", "3"},
		{"max_retries", "10000"},
		{"rollover_max_files", "100"},
	} {
		xml = regexp.MustCompile(`(?s)<`+c.element+`>.*?</`+c.element+`>`).ReplaceAllLiteralString(xml, "<"+c.element+">"+c.text+"</"+c.element+">")
	}
	xml = strings.ReplaceAll(xml, "ACCEPT {}", "ACCEPT {\n max_msgs_per_session = 100000\n max_concurrency = 600\n }")
	xml = strings.Replace(xml, "<address>"+w.CPQ+"</address>", "<address>"+w.Link.Addr+"</address>", 1)
	if edit != nil {
		xml = edit(w, xml)
	}
	return os.WriteFile(name, []byte(xml), 0o600)
}

// Heal starts whatever does not run.
func (w *World) Heal(ctx context.Context) error {
	for _, p := range []*Process{w.Manager, w.Gateway} {
		if p.Running() {
			continue
		}
		took, err := p.Start(ctx)
		if err != nil {
			return err
		}
		w.start = append(w.start, took)
	}
	return nil
}

// KillNow is kill -9 of an appliance, noted before it.
func (w *World) KillNow(p *Process) {
	w.H.Add(history.Event{Who: history.Fault, What: history.Killed, Appliance: p.Host})
	p.Kill()
}

// Injected notes any other fault.
func (w *World) Injected(note string) {
	w.H.Add(history.Event{Who: history.Fault, What: history.Other, Note: note})
}

// Kill ends everything at once.
func (w *World) Kill() {
	w.Gateway.Kill()
	w.Manager.Kill()
	for _, s := range w.Sinks {
		s.Close()
	}
	w.Link.Close()
	if w.Back != nil {
		w.Back.Close()
	}
	if w.relay != nil {
		w.relay.close()
	}
	for _, g := range w.groups {
		_ = os.Remove(g) // is empty now
	}
}
