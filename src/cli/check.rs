//! `onecard check`: reads a configuration whole, opens neither keys
//! nor journal.

use std::path::PathBuf;

use clap::Args;

use super::load;

/// Reads a configuration whole and says everything that is wrong.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The region's folder of the configuration, for example config/tianjin.
    #[arg(long)]
    config: PathBuf,
}

/// Runs `onecard check`.
///
/// # Errors
/// Everything that is wrong.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let loaded = load::load(&args.config)?;
    load::check_material(&loaded.file)?;
    for notice in &loaded.notices {
        println!("注意 / note: {notice}");
    }
    let registry = &loaded.live.registry;
    println!(
        "配置正确 / the configuration is right: {} ({}), {} participants, {} terminals, {} members",
        loaded.file.region.name_zh,
        loaded.file.region.name_en,
        registry.participants().len(),
        registry.terminal_count(),
        loaded.live.trust.members().count(),
    );
    Ok(())
}
