"""The settings of backups: where they go, and how long they are kept."""

from __future__ import annotations

from pydantic import Field

from appliance.config.section import Section


class BackupSettings(Section):
    """Backups of all state but the model files, encrypted and deduplicated. `appliance backup set-up` begins them."""

    to: str | None = Field(
        None,
        pattern=r"^(/|(sftp|rest|s3|b2|azure|gs|swift|rclone):).+$",
        description="Where backups go: a folder, best on another disk, as `/media/usb/appliance`, or an address that "
        "restic knows, as `sftp:nas:/backup`.",
    )
    scheduled: bool = Field(default=True, description="Whether the box makes and tries them by itself.")
    at: str = Field(
        "02:30",
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
        description="When a backup is made each day, by the clock of this machine.",
    )
    verify_days: int = Field(7, ge=1, le=365, description="After how many days all that is kept is read and checked.")
    drill_days: int = Field(
        30, ge=1, le=365, description="After how many days the newest backup is restored and tried, beside what runs."
    )
    keep_daily: int = Field(7, ge=0, le=3650, description="How many days keep their last backup.")
    keep_weekly: int = Field(5, ge=0, le=520, description="How many weeks keep their last backup.")
    keep_monthly: int = Field(12, ge=0, le=600, description="How many months keep their last backup.")
