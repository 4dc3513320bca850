package gateway

import (
	"lazaret/internal/admin"
	"lazaret/internal/archive"
)

// openLanguage makes the commands of a gateway.
func (g *Gateway) openLanguage(Options) (err error) {
	commands := append(g.CommonCommands(g.queue, g.spool.LastMID, g.quarantines.Holding), admin.MachineCommands(g)...)
	commands = append(commands, g.quarantines.Commands()...)
	commands = append(commands, admin.HeldCommands(held{g})...)
	commands = append(commands, admin.Configuration{Store: g.Config, Clock: g.Now}.DeliveryCommands()...)
	commands = append(commands, admin.TLSCommands(g.couriers)...)
	commands = append(commands, admin.Configuration{Store: g.Config, Clock: g.Now}.ReportCommands()...)
	commands = append(commands, admin.Configuration{Store: g.Config, Clock: g.Now}.ScanningCommands(g)...)
	commands = append(commands, admin.Configuration{Store: g.Config, Clock: g.Now}.OutbreakCommands(g)...)
	commands = append(commands, admin.ArchiveCommands(archives{g.archives})...)
	commands = append(commands, admin.TraceCommand(tracer{g}))
	commands = append(commands, admin.UndeliveredCommands(keptCommands{g})...)
	commands = append(commands, admin.ToldCommand(tracker{g}))
	commands = append(commands, admin.WhereCommands(tracker{g}, g.Now)...)
	g.language, err = g.Language("Gateway", commands)
	return err
}

// archives shows the archives to the commands.
type archives struct{ *archive.Store }

// ArchiveFiles implements admin.Archives.
func (a archives) ArchiveFiles() (out []admin.ArchiveFile, err error) {
	files, err := a.List()
	for _, f := range files {
		out = append(out, admin.ArchiveFile(f))
	}
	return out, err
}
