//! What a boot would do, without doing any of it.

use super::{Loaded, history, planning};
use crate::{error::BootError, host::Host, plan::Preview};
use std::sync::Arc;

pub(crate) async fn preview(host: &Host) -> Result<Preview, BootError> {
    let loaded = Loaded::new(host)?;
    let connection = Arc::new(host.database.connect(&host.connection_name()).await?);
    let plan = planning::now(host, &loaded, &connection).await?;
    let evidence = history::evidence(host, &connection).await?;
    Ok(Preview::new(&plan, &loaded.components, evidence))
}
