use fmam_core::{ImageSize, Split, shown};

use crate::check::{Checked, CheckedCategory, CheckedClass, Counted, TakenFor};

/// Values of a kind that a cell shows; of more it has their number.
const SHOWN: usize = 2;

/// A line that says what a folder was read as, and a table of its images: a row for each class of
/// each category.
pub fn check_table(checked: &Checked) -> String {
    let sizes: Vec<ImageSize> = checked
        .categories
        .iter()
        .flat_map(|category| &category.classes)
        .map(|class| &class.vanishing)
        .find(|vanishing| !vanishing.is_empty())
        .map_or_else(Vec::new, |vanishing| vanishing.iter().map(|vanishing| vanishing.size).collect());
    let mut columns = vec![
        Column::text("category"),
        Column::text("split"),
        Column::text("class"),
        Column::number("images"),
        Column::number("refused"),
        Column::text("height x width"),
        Column::text("files"),
        Column::text("turned"),
        Column::number("repeated"),
    ];
    let has_masks = !sizes.is_empty();
    if has_masks {
        columns.extend([Column::number("masks"), Column::number("defects"), Column::number("smallest")]);
        let title = |(index, &size): (usize, &ImageSize)| {
            let at = if index == 0 { "gone at" } else { "at" };
            Column::number(&format!("{at} {}", side(size)))
        };
        columns.extend(sizes.iter().enumerate().map(title));
    }
    for (category, class) in
        checked.categories.iter().flat_map(|c| c.classes.iter().map(move |class| (c, class)))
    {
        let mut cells = row(category, class);
        if has_masks {
            cells.extend(mask_cells(class, sizes.len()));
        }
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.cells.push(cell);
        }
    }
    format!("{}\n\n{}", taken_for(checked), table(&columns))
}

/// The layout that a folder was read as, in a sentence.
fn taken_for(checked: &Checked) -> String {
    let folder = checked.folder.display();
    match &checked.taken_for {
        TakenFor::Named { dataset } => format!("Read as the data set {dataset}."),
        TakenFor::Recognised { datasets, root } if *root == checked.folder => {
            format!("{folder} has the layout of {}, and is read as that.", datasets.join(" and of "))
        }
        TakenFor::Recognised { datasets, root } => format!(
            "{folder} is a category in the layout of {}, and is read as that of {}.",
            datasets.join(" and of "),
            root.display()
        ),
        TakenFor::Images { could_be } if could_be.is_empty() => {
            format!("{folder} is read as a folder of good images, as a fit reads it.")
        }
        TakenFor::Images { could_be } => format!(
            "{folder} is read as a folder of good images. It has the layouts of {}, too: name the data set to \
             check it as one.",
            could_be.join(" and ")
        ),
    }
}

fn row(category: &CheckedCategory, class: &CheckedClass) -> Vec<String> {
    let split = match class.split {
        Split::Train => "train",
        Split::Test => "test",
    };
    // The depth is that of the training images, by which all 16-bit files are scaled.
    let file = |kind: &String| match category.bits {
        Some(bits @ ..16) => kind.replace("16-bit", &format!("{bits}-in-16-bit")),
        _ => kind.clone(),
    };
    vec![
        category.name.clone(),
        split.to_owned(),
        class.class.clone(),
        class.n_images.to_string(),
        count(class.n_refused),
        several(&class.sizes, "sizes", ToString::to_string),
        several(&class.files, "kinds", file),
        match class.orientations.iter().map(|turned| turned.n).sum() {
            0 => count(0),
            n => n.to_string(),
        },
        count(class.n_repeated),
    ]
}

fn mask_cells(class: &CheckedClass, n_sizes: usize) -> Vec<String> {
    if class.n_masks == 0 {
        return vec![count(0); 3 + n_sizes];
    }
    let (regions, smallest) = class.areas.map_or((0, 0), |areas| (areas.n_regions, areas.smallest));
    let gone = class.vanishing.iter().map(|vanishing| count(vanishing.n_images));
    let mut cells = vec![class.n_masks.to_string(), count(regions), format!("{smallest} px")];
    cells.extend(gone.chain(std::iter::repeat(count(0))).take(n_sizes));
    cells
}

/// A number; a dash for 0, so that the others catch the eye.
fn count(n: usize) -> String {
    if n == 0 { "–".to_owned() } else { n.to_string() }
}

/// The most common of several values with their counts, and the number of all where there are more.
fn several<T>(values: &[Counted<T>], what: &str, text: impl Fn(&T) -> String) -> String {
    match values {
        [] => count(0),
        [only] => text(&only.value),
        values => {
            let shown =
                values.iter().take(SHOWN).map(|value| format!("{} ({})", text(&value.value), value.n));
            let shown: Vec<String> = shown.collect();
            let all = if values.len() > SHOWN { format!("{} {what}: ", values.len()) } else { String::new() };
            let more = if values.len() > SHOWN { ", ..." } else { "" };
            format!("{all}{}{more}", shown.join(", "))
        }
    }
}

/// The side of a square, or both.
fn side(size: ImageSize) -> String {
    if size.height == size.width { size.height.to_string() } else { size.to_string() }
}

struct Column {
    title: String,
    is_number: bool,
    cells: Vec<String>,
}

impl Column {
    fn text(title: &str) -> Self {
        Self { title: title.to_owned(), is_number: false, cells: Vec::new() }
    }

    fn number(title: &str) -> Self {
        Self { is_number: true, ..Self::text(title) }
    }
}

/// The columns side by side. A text is left-aligned, a number right-aligned.
fn table(columns: &[Column]) -> String {
    let shown: Vec<Vec<_>> =
        columns.iter().map(|column| column.cells.iter().map(|cell| shown(cell)).collect()).collect();
    let length = |text: &str| text.chars().count();
    let widths: Vec<usize> = columns
        .iter()
        .zip(&shown)
        .map(|(column, cells)| {
            cells.iter().map(|cell| length(cell)).max().unwrap_or(0).max(length(&column.title))
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(columns).zip(&widths).map(|((cell, column), width)| {
            if column.is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let n_rows = columns.first().map_or(0, |column| column.cells.len());
    let mut text = line(&mut columns.iter().map(|column| column.title.as_str()));
    for row in 0..n_rows {
        text += &line(&mut shown.iter().map(|cells| &*cells[row]));
    }
    text
}
