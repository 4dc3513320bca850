package admin

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/listener"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// maxWait is the longest time that sessions are given at a suspension, in seconds.
const maxWait = 3600

func (s System) suspendCommands() []Command {
	cmd := func(name, summary, usage string, max int, run func(context.Context, *Call) error) Command {
		return Command{Name: name, Summary: summary, Usage: usage, Right: auth.QueueChange, MaxArgs: max, Changes: true, Run: run}
	}
	return []Command{
		cmd("suspendlistener", "Stop receiving on listeners", "suspendlistener LISTENER,... [SECONDS]\nsuspendlistener all [SECONDS]      (cpq_listener too)", 2, s.suspendListener),
		cmd("resumelistener", "Receive again on listeners", "resumelistener LISTENER,...\nresumelistener all", 1, s.resumeListener),
		cmd("suspenddel", "Stop delivery, to all or some domains", "suspenddel DOMAIN,...\nsuspenddel ALL", 1, s.suspendDelivery),
		cmd("resumedel", "Deliver again", "resumedel DOMAIN,...\nresumedel ALL", 1, s.resumeDelivery),
		cmd("suspend", "Stop receiving and delivery", "suspend [SECONDS]", 1, s.suspend),
		cmd("offline", "Stop receiving and delivery for maintenance", "offline [SECONDS]", 1, s.suspend),
		cmd("resume", "Receive and deliver again", "resume", 0, s.resume),
	}
}

// visibleListeners leaves the hidden one out of the menus, and only there.
func (s System) visibleListeners(suspended bool) []string {
	var names []string
	for _, l := range s.Listeners.Status() {
		if l.Name != listener.CPQName && (l.State == listener.Suspended) == suspended {
			names = append(names, l.Name)
		}
	}
	return names
}

// askListeners gives names, nil for all.
func askListeners(c *Call, question string, names []string) ([]string, error) {
	if err := c.needs("the name of a listener, or all, is needed"); err != nil {
		return nil, err
	}
	list := "1. All\n"
	for i, n := range names {
		list += strconv.Itoa(i+2) + ". " + n + "\n"
	}
	answer, err := c.Ask(question+" Separate multiple entries with commas.\n"+strings.TrimSuffix(list, "\n"), "1")
	if err != nil {
		return nil, err
	}
	var chosen []string
	for _, w := range strings.Split(answer, ",") {
		w = strings.TrimSpace(w)
		if w == "1" || strings.EqualFold(w, "all") {
			return nil, nil
		}
		if n, err := strconv.Atoi(w); err == nil {
			if n < 2 || n > len(names)+1 {
				return nil, Usage("there is no listener number %d", n)
			}
			w = names[n-2]
		}
		chosen = append(chosen, w)
	}
	return chosen, nil
}

func askSeconds(c *Call) (time.Duration, error) {
	answer, err := c.Ask("Enter the number of seconds to wait before abruptly closing connections.", "30")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(answer)
	if err != nil || n < 0 || n > maxWait {
		return 0, Usage("%q is not a number of seconds from 0 to %d", answer, maxWait)
	}
	return time.Duration(n) * time.Second, nil
}

func (s System) suspendListener(_ context.Context, c *Call) error {
	names, err := askListeners(c, "Choose the listener(s) you wish to suspend.", s.visibleListeners(false))
	if err != nil {
		return err
	}
	wait, err := askSeconds(c)
	if err != nil {
		return err
	}
	return s.stopReceiving(c, wait, names)
}

func (s System) stopReceiving(c *Call, wait time.Duration, names []string) error {
	changed, err := s.Listeners.Suspend(wait, names...)
	s.note(c, "Receiving suspended", changed)
	if err != nil {
		return err
	}
	if err := s.KeepListeners(s.Listeners.Suspended()); err != nil {
		return err
	}
	if len(changed) == 0 {
		c.Printf("No listeners were suspended.\n")
		return nil
	}
	c.Printf("Waiting for listeners to exit...\nReceiving suspended for %s.\n", strings.Join(changed, ", "))
	return nil
}

// note tells mail_logs why no connections come, and who wanted it so.
func (s System) note(c *Call, what string, changed []string) {
	if s.Note != nil && len(changed) > 0 {
		s.Note(what + " for " + strings.Join(changed, ", ") + " by user " + c.Principal.Name)
	}
}

func (s System) resumeListener(_ context.Context, c *Call) error {
	names, err := askListeners(c, "Choose the listener(s) you wish to resume.", s.visibleListeners(true))
	if err != nil {
		return err
	}
	return s.startReceiving(c, names)
}

func (s System) startReceiving(c *Call, names []string) error {
	changed, err := s.Listeners.Resume(names...)
	s.note(c, "Receiving resumed", changed)
	if kept := s.KeepListeners(s.Listeners.Suspended()); err == nil {
		err = kept
	}
	if len(changed) > 0 {
		c.Printf("Receiving resumed for %s.\n", strings.Join(changed, ", "))
	} else if err == nil {
		c.Printf("No listeners were resumed.\n")
	}
	return err
}

// askDomains gives host names in the queue's form.
func askDomains(c *Call, question string) ([]string, error) {
	if err := c.needs("a domain, or ALL, is needed"); err != nil {
		return nil, err
	}
	answer, err := c.Ask(question, queue.AllHosts)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, w := range strings.Split(answer, ",") {
		if w = strings.TrimSpace(w); strings.EqualFold(w, queue.AllHosts) {
			return []string{queue.AllHosts}, nil
		}
		d, err := mail.ParseDomain(w)
		if err != nil {
			return nil, Usage("%q is not a domain", w)
		}
		names = append(names, d)
	}
	return names, nil
}

func (s System) suspendDelivery(_ context.Context, c *Call) error {
	names, err := askDomains(c, "Enter one or more domains [comma-separated] to which you want to suspend delivery.")
	if err != nil {
		return err
	}
	return s.stopDelivery(c, names)
}

func (s System) stopDelivery(c *Call, names []string) error {
	s.Queue.SuspendDelivery(names...)
	if err := s.KeepDelivery(s.Queue.Suspended()); err != nil {
		return err
	}
	if slices.Contains(names, queue.AllHosts) {
		c.Printf("Mail delivery suspended.\n")
		return nil
	}
	c.Printf("Mail delivery suspended for %s.\n", strings.Join(names, ", "))
	return nil
}

func (s System) resumeDelivery(_ context.Context, c *Call) error {
	names, err := askDomains(c, "Enter one or more domains [comma-separated] to which you want to resume delivery.")
	if err != nil {
		return err
	}
	return s.startDelivery(c, names)
}

func (s System) startDelivery(c *Call, names []string) error {
	resumed := s.Queue.ResumeDelivery(names...)
	if err := s.KeepDelivery(s.Queue.Suspended()); err != nil {
		return err
	}
	if slices.Contains(names, queue.AllHosts) {
		c.Printf("Mail delivery resumed.\n")
		return nil
	}
	if len(resumed) == 0 {
		c.Printf("Mail delivery was not suspended for %s.\n", strings.Join(names, ", "))
		return nil
	}
	c.Printf("Mail delivery resumed for %s.\n", strings.Join(resumed, ", "))
	return nil
}

// suspend takes the hidden CPQ listener along, as the seed tells.
func (s System) suspend(_ context.Context, c *Call) error {
	wait, err := askSeconds(c)
	if err != nil {
		return err
	}
	if err := s.stopReceiving(c, wait, nil); err != nil {
		return err
	}
	return s.stopDelivery(c, []string{queue.AllHosts})
}

func (s System) resume(_ context.Context, c *Call) error {
	err := s.startReceiving(c, nil)
	if derr := s.startDelivery(c, []string{queue.AllHosts}); err == nil {
		err = derr
	}
	return err
}
