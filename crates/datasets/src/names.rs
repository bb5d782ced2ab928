use std::collections::HashMap;
use std::path::Path;

use crate::DatasetError;

/// Checks that no two of the paths have the same name. Names that are not UTF-8 may read the same.
///
/// # Errors
/// [`DatasetError::SharedName`].
pub(crate) fn refuse_shared_names<'a>(
    names: impl Iterator<Item = (String, &'a Path)>,
) -> Result<(), DatasetError> {
    let mut paths: HashMap<String, &Path> = HashMap::new();
    for (name, path) in names {
        if let Some(first) = paths.insert(name.clone(), path) {
            let (first, second) = (first.to_owned(), path.to_owned());
            return Err(DatasetError::SharedName { name, first, second });
        }
    }
    Ok(())
}
