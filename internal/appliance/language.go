package appliance

import (
	"context"
	"os"
	"path/filepath"
	"runtime"

	"lazaret/internal/admin"
	"lazaret/internal/certs"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// CommonCommands gives the commands that both roles have. last gives the last
// MID given, held how much the quarantines hold (nil: there are none).
func (a *Appliance) CommonCommands(q *queue.Queue, last func() mail.MID, held func(context.Context) (admin.Holding, error)) []admin.Command {
	system := admin.System{
		Queue: q, Listeners: a.Listeners, Stats: a.Stats, Started: a.Started, Clock: a.Now, Space: a.space, Troubles: a.troubles, Held: held, Note: a.Log.Info,
		IDs: func() (mail.MID, mail.ICID, mail.DCID) {
			icid, dcid := a.State.Given()
			return last(), icid, dcid
		},
		Attention:     a.Attention,
		KeepListeners: a.State.SetSuspendedListeners, KeepDelivery: a.State.SetSuspendedDelivery,
	}
	commands := append(system.Commands(), admin.Configuration{
		Store: a.Config, Clock: a.Now, CPQState: admin.CPQState(a.Listeners), Link: a, Tell: a.Tell, Keys: a, Dir: a.Dir, ReadFile: certs.ReadPEM, FlushDNS: a.flushDNS,
	}.Commands()...)
	return append(commands, admin.Logs{
		{Name: "mail_logs", Dir: a.Path("log", "mail_logs"), Prefix: "mail", File: a.MailLog},
		{Name: "audit", Dir: a.Path("log", "audit"), Prefix: "audit", File: a.audit},
	}.Commands()...)
}

// Language makes the command language of a role.
func (a *Appliance) Language(role string, commands []admin.Command) (*admin.Language, error) {
	c := a.Config.Committed()
	return admin.New(admin.Options{
		Host:    func() string { return a.Config.Committed().Hostname },
		Product: "Lazaret " + Version + " for " + role,
		Welcome: "Welcome to the Lazaret " + role,
		Version: []string{
			"Current Version", "===============", "Product: Lazaret " + role, "Model: " + runtime.GOOS + "/" + runtime.GOARCH,
			"Version: " + Version, "Build Date: " + BuildDate(), "Serial #: " + c.Serial,
		},
		Audit: a.Audit, Fault: a.Log.Fault, Clock: a.Now,
	}, commands...)
}

// space gives the bytes that the appliance's directory uses for mail, and what
// is free on its disk.
func (a *Appliance) space() (used, free int64) {
	for _, name := range []string{"spool", "content"} {
		_ = filepath.WalkDir(a.Path(name), func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				if info, err := d.Info(); err == nil {
					used += info.Size()
				}
			}
			return nil // what vanishes under the walk is gone
		})
	}
	return used, freeBytes(a.Dir)
}

// Scratch gives a file in a directory of its own that Close removes, for checking.
func (a *Appliance) Scratch(name string) (string, error) {
	dir, err := os.MkdirTemp("", "lazaret-check")
	if err != nil {
		return "", errs.Wrap(errs.Internal, err, "a place for checking")
	}
	a.closers = append(a.closers, func() error { return os.RemoveAll(dir) })
	return filepath.Join(dir, name), nil
}
